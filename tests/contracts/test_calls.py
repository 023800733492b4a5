"""A call with other weights leaves the module's own in their places, whatever names its parts share."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from thalweg.contracts.calls import called_with


class Net(nn.Module):
    """Two layers, of which the second one may share the first one's module or weight."""

    def __init__(self, shares: str) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first if shares == "module" else nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        if shares == "weight":
            self.second.weight = self.first.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.norm(self.second(self.first(inputs)))
        return made


@pytest.mark.parametrize("shares", ["nothing", "module", "weight"])
def test_the_outputs_are_those_of_a_module_with_these_weights(shares: str) -> None:
    torch.manual_seed(0)
    net, inputs = Net(shares).eval(), torch.randn(4, 3)
    own = {name: (value, value.detach().clone()) for name, value in net.named_parameters(remove_duplicate=False)}
    state = {name: torch.randn_like(value) for name, value in net.named_parameters()}
    state["norm.running_mean"] = torch.randn(3)
    other = copy.deepcopy(net)
    with torch.no_grad():
        for name, value in [*other.named_parameters(), *other.named_buffers()]:
            if name in state:
                value.copy_(state[name])
    for _ in range(2):
        torch.testing.assert_close(called_with(net, state, inputs), other(inputs))
    for name, (value, numbers) in own.items():
        assert net.get_parameter(name) is value
        assert torch.equal(value, numbers)
