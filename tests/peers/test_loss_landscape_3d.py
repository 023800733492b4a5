"""Surfaces of loss-landscape-3d 0.1.3: exact on directions of parameters; its own move batch norm's statistics too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from look_peers import (
    TICKS,
    Floats,
    batches,
    directions,
    distance,
    exact_hessian,
    exact_surface,
    examples,
    grid,
    like,
    network,
    peer,
    surface,
    vector,
    weights,
)

Direction = dict[str, Tensor]


@pytest.fixture
def package() -> Any:
    return peer("loss_landscape_3d", "loss-landscape-3d")


def calculated(package: Any, module: nn.Module, data: Any, first: Direction, second: Direction) -> Floats:
    center = {name: value.clone() for name, value in module.state_dict().items()}
    calculator = package.LossLandscapeCalculator(module, data, nn.CrossEntropyLoss())
    return np.asarray(calculator.calculate(TICKS, TICKS, first, second, center))


def named(module: nn.Module, direction: Tensor) -> Direction:
    names = [name for name, _ in module.named_parameters()]
    return dict(zip(names, like(module, direction), strict=True))


def flat(module: nn.Module, direction: Direction) -> Tensor:
    return torch.cat([direction[name].flatten() for name, _ in module.named_parameters()])


def with_statistics() -> nn.Module:
    """A network whose batch norm has the statistics of the data."""
    module = network(nn.BatchNorm1d(5)).train()
    with torch.no_grad():
        for _ in range(50):
            module(examples()[0])
    return module.eval()


@pytest.mark.parametrize("sizes", [(20,), (10, 10), (8, 8, 4)])
def test_given_directions_agree_in_equal_and_unequal_batches(package: Any, sizes: tuple[int, ...]) -> None:
    module, data = with_statistics(), batches(*sizes)
    expected = exact_surface(module, data)
    ends = [named(module, one) for one in directions(module)]
    np.testing.assert_allclose(calculated(package, module, data, *ends), expected, rtol=1e-12)


def test_its_random_directions_move_running_statistics(package: Any) -> None:
    """Normal noise of the norm of all variances makes some variance negative at most points of the square."""
    module = with_statistics()
    exact_surface(module, examples())
    torch.manual_seed(0)
    first, second = package.generate_random_directions(module)
    found = calculated(package, module, [examples()], first, second)
    moved = [name for name, value in first.items() if name.startswith("1.running") and value.any()]
    assert moved == ["1.running_mean", "1.running_var"]
    ends = flat(module, first), flat(module, second)
    expected = surface(module, examples(), grid(weights(module), *ends, TICKS, TICKS))
    assert np.isfinite(expected).all()
    assert np.isnan(found).sum() == pytest.approx(38, abs=2)
    assert np.nanmax(abs(found / expected - 1)) == pytest.approx(0.067, abs=0.001)
    # with parameters alone, the same call is exact
    ours = calculated(package, module, [examples()], *(named(module, end) for end in ends))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_its_hessian_weighs_batches_alike_and_reads_five(package: Any) -> None:
    compute_hvp = peer("loss_landscape_3d.directions", "loss-landscape-3d").compute_hvp
    module, v = network(), vector(network())

    def product(*sizes: int) -> Tensor:
        found = compute_hvp(module, batches(*sizes), nn.CrossEntropyLoss(), named(module, v), torch.device("cpu"))
        return flat(module, found)

    expected = exact_hessian(module, batches(8, 8, 4)) @ v
    assert distance(product(10, 10), expected) < 1e-13
    measured = [distance(product(8, 8, 4), expected), distance(product(*[2] * 10), expected)]
    assert measured == pytest.approx([0.271, 0.884], abs=0.001)


def test_the_network_is_left_in_evaluation_mode(package: Any) -> None:
    module = network().train()
    exact_surface(module, examples())
    assert module.training
    calculated(package, module, [examples()], *(named(module, one) for one in directions(module)))
    assert not module.training
