"""Points of networks whose layers share weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.landscape import losses_at
from thalweg.landscape.evaluate import Plane, flat


class Tied(nn.Module):
    """The last layer has the first layer's weight, and a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(12, 4), nn.Linear(4, 12), nn.Linear(12, 4)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(torch.tanh(self.middle(torch.tanh(self.first(x)))))
        return out


@pytest.mark.parametrize("method", ["auto", "walk", "stack"])
def test_a_weight_that_the_first_layer_shares_is_read_at_every_point(method: str) -> None:
    torch.manual_seed(0)
    module = Tied().double()
    x, y = torch.randn(256, 12).double(), torch.arange(256) % 4
    data = Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION)
    start = flat(module)
    plane = Plane(start, torch.randn_like(start), torch.randn_like(start), [-1, 0, 1], [-1, 0, 1])
    found = losses_at(module, data, plane, metrics=["loss"], method=method)["loss"]
    expected = []
    for point in plane:
        nn.utils.vector_to_parameters(point, module.parameters())
        expected.append(nn.functional.cross_entropy(module(x), y).item())
    torch.testing.assert_close(found.flatten().double(), torch.tensor(expected, dtype=torch.float64))
