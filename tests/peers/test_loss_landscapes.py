"""Planes of loss-landscapes 3.0.6: exact losses with every other row shifted; the network is changed by default."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from look_peers import (
    SIDE,
    TICKS,
    Floats,
    directions,
    exact_surface,
    examples,
    grid,
    loss,
    network,
    peer,
    surface,
    weights,
)

STEP = TICKS[1] - TICKS[0]


@pytest.fixture
def package() -> Any:
    return peer("loss_landscapes", "loss-landscapes")


def metric() -> Any:
    return peer("loss_landscapes.metrics", "loss-landscapes").Loss(nn.CrossEntropyLoss(), *examples())


def at(vector: Tensor) -> nn.Module:
    module = network()
    with torch.no_grad():
        nn.utils.vector_to_parameters(vector.clone(), module.parameters())
    return module


def corners() -> tuple[Tensor, Tensor, Tensor]:
    """Start and ends for which the formula of its docstring has the points of ``look.surface``."""
    first, second = directions(network())
    start = weights(network()) - first - second
    return start, start + SIDE * STEP * first, start + SIDE * STEP * second


def planar(package: Any, start: nn.Module, *ends: nn.Module, **more: Any) -> Floats:
    return np.asarray(package.planar_interpolation(start, *ends, metric(), SIDE, **more))


def test_rows_of_even_number_lie_a_step_beside_those_of_odd_number(package: Any) -> None:
    expected = exact_surface(network(), examples())
    found = planar(package, *map(at, corners()), deepcopy_model=True)
    np.testing.assert_allclose(found[1::2], expected[1::2], rtol=1e-12)
    np.testing.assert_allclose(found[::2, :-1], expected[::2, 1:], rtol=1e-12)
    assert abs(found / expected - 1).max() == pytest.approx(0.0592, abs=0.001)


def test_the_network_moves_and_no_longer_trains_by_default(package: Any) -> None:
    expected = exact_surface(network(), examples())
    start, *ends = map(at, corners())
    kept = planar(package, start, *ends, deepcopy_model=True)
    assert all(p.requires_grad for p in start.parameters())
    np.testing.assert_array_equal(planar(package, start, *ends), kept)
    assert not any(p.requires_grad for module in (start, *ends) for p in module.parameters())
    moved = weights(start) - corners()[0]
    first, second = directions(network())
    # after an odd number of rows it is at the end of both directions
    torch.testing.assert_close(moved, SIDE * STEP * (first + second))
    assert float(loss(start, examples())) != pytest.approx(expected[0, 0], rel=0.01)


def test_a_larger_distance_makes_a_smaller_plane(package: Any) -> None:
    exact_surface(network(), examples())
    middle, ranges = float(loss(network(), examples()).detach()), []
    for distance in (1, 10):
        torch.manual_seed(0)
        found = package.random_plane(network(), metric(), distance, SIDE, "filter", deepcopy_model=True)
        assert abs(found - middle).min() < 0.01
        ranges.append(np.ptp(found))
    assert ranges[0] / ranges[1] == pytest.approx(10.1, abs=0.2)


def test_its_random_directions_have_no_negative_numbers(package: Any) -> None:
    """So two of them are never far apart: uniform numbers from 0 to 1 have a cosine of 3/4 on average."""
    own = peer("loss_landscapes.model_interface.model_parameters", "loss-landscapes")
    torch.manual_seed(0)
    point = own.ModelParameters([p.detach() for p in network().parameters()])
    first, second = (torch.cat([one.flatten() for one in own.rand_u_like(point).parameters]) for _ in range(2))
    assert (first >= 0).all()
    assert float(torch.cosine_similarity(first, second, dim=0)) == pytest.approx(0.75, abs=0.05)
    ours = directions(network())
    assert abs(float(torch.cosine_similarity(*ours, dim=0))) < 0.4
    assert all((one < 0).any() for one in ours)


def test_points_and_grid_are_one_notation() -> None:
    """The reference of these tests has its own check: a point of the grid is the sum that the formula says."""
    start, first, second = corners()
    points = grid(start, (first - start) / SIDE, (second - start) / SIDE, range(SIDE), range(SIDE))
    whole = grid(weights(network()), *directions(network()), TICKS, TICKS)
    torch.testing.assert_close(points, whole)
    np.testing.assert_allclose(surface(network(), examples(), points), surface(network(), examples(), whole))
