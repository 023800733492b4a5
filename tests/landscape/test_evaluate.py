from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.contracts.analytic import AnalyticFunction
from thalweg.landscape.evaluate import Line, Plane, flat, flat_from, losses_at
from thalweg.testing.small import network, problem, same

H = torch.diag(torch.tensor([1.0, 4.0, 9.0])).double()


class Vector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(3).double())

    def forward(self) -> torch.Tensor:
        return self.x


def quadratic() -> AnalyticFunction:
    return AnalyticFunction(lambda x: 0.5 * x @ H @ x, lambda _: torch.zeros(3).double())


def test_a_plane_of_a_quadratic_has_the_known_values_at_the_known_places() -> None:
    ticks = (-1.0, -0.5, 0.0, 0.5, 1.0)
    d1, d2 = torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 2.0, 0]).double()
    plane = Plane(torch.zeros(3).double(), d1, d2, ticks, ticks)
    values = losses_at(Vector(), quadratic(), plane)["loss"].view(5, 5).numpy()
    x, y = np.meshgrid(ticks, ticks)
    np.testing.assert_allclose(values, 0.5 * x**2 + 0.5 * 4 * (2 * y) ** 2, rtol=1e-14)
    # rows are y and columns x, the centre in the middle, and the picture its own mirror image
    assert values[2, 2] == 0
    assert values[2, 4] < values[4, 2]
    np.testing.assert_array_equal(values, values[::-1, :])
    np.testing.assert_array_equal(values, values[:, ::-1])


def test_the_ends_of_a_line_are_its_ends_exactly() -> None:
    start, end = torch.tensor([0.1, 0.7, 1e9]).double(), torch.tensor([0.3, -0.2, 1e-9]).double()
    points = list(Line(start, end, (0.0, 0.5, 1.0)))
    assert torch.equal(points[0], start)
    assert torch.equal(points[2], end)


def test_the_loss_at_the_modules_own_weights_is_its_loss() -> None:
    module, data = network(), problem()
    expected = data.evaluate(module.eval(), "train")
    values = losses_at(module, data, flat(module)[None])
    assert {name: column.item() for name, column in values.items()} == expected


def test_the_module_is_unchanged_also_after_an_exception() -> None:
    module, data = network().train(), problem()
    before = [tensor.clone() for tensor in module.state_dict().values()]
    losses_at(module, data, torch.randn(3, len(flat(module))), batch_norm="batch")
    with pytest.raises(ValueError, match=r"a point has shape \(5,\), expected \(99,\)"):
        losses_at(module, data, torch.randn(3, 5))
    assert same(before, list(module.state_dict().values()))
    assert module.training


def test_batch_norm_modes_differ_and_neither_depends_on_the_order_of_points() -> None:
    module, data = network(), problem()
    points = torch.randn(4, len(flat(module)), generator=torch.Generator().manual_seed(0))
    for mode in ("running", "batch"):
        forward = losses_at(module, data, points, batch_norm=mode)["loss"]
        backward = losses_at(module, data, points.flip(0), batch_norm=mode)["loss"]
        assert torch.equal(forward, backward.flip(0))
    running, batch = (losses_at(module, data, points, batch_norm=mode)["loss"] for mode in ("running", "batch"))
    assert not torch.allclose(running, batch)


def test_dropout_is_off_in_either_mode() -> None:
    data = problem()
    module = torch.nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 3))
    points = flat(module).expand(2, -1)
    for mode in ("running", "batch"):
        first, second = losses_at(module, data, points, batch_norm=mode)["loss"]  # type: ignore[arg-type]
        assert first == second


def test_values_that_are_not_finite_are_kept() -> None:
    module, data = network(), problem()
    values = losses_at(module, data, torch.full((1, len(flat(module))), 1e38))["loss"]
    assert not torch.isfinite(values).any()


def test_a_state_dict_flattens_in_the_order_of_the_parameters() -> None:
    module = network()
    assert torch.equal(flat_from(module, module.state_dict()), flat(module))
