"""Surfaces of losscape 1.5.10: exact where at most eight batches of equal size are all data."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from look_peers import (
    SIDE,
    TICKS,
    Floats,
    batches,
    directions,
    exact_surface,
    grid,
    like,
    network,
    peer,
    surface,
    weights,
)


@pytest.fixture
def create(tmp_path: Path) -> Any:
    package = peer("losscape.create_landscape", "losscape")
    package.plt.switch_backend("Agg")

    def made(module: nn.Module, data: Any, **more: Any) -> Floats:
        ends = [like(module, one) for one in directions(module)]
        with contextlib.redirect_stdout(io.StringIO()):
            _, _, losses = package.create_3D_losscape(
                module, data, directions=ends, save_only=True, output_path=str(tmp_path), output_h5=False,
                num_points=SIDE, **more,
            )  # fmt: skip
        return np.asarray(losses).T

    return made


@pytest.mark.parametrize("sizes", [(20,), (10, 10)])
def test_equal_batches_agree(create: Any, sizes: tuple[int, ...]) -> None:
    module, data = network(), batches(*sizes)
    expected = exact_surface(module, data)
    np.testing.assert_allclose(create(module, data), expected, rtol=1e-12)


def test_batches_of_8_8_and_4_examples_weigh_alike(create: Any) -> None:
    module, data = network(), batches(8, 8, 4)
    expected = exact_surface(module, data)
    found = create(module, data)
    points = grid(weights(network()), *directions(network()), TICKS, TICKS)
    np.testing.assert_allclose(found, np.mean([surface(network(), one, points) for one in data], 0), rtol=1e-12)
    assert abs(found / expected - 1).max() == pytest.approx(0.0621, abs=0.001)


def test_eight_batches_are_all_that_is_read_by_default(create: Any) -> None:
    data = batches(*[2] * 10)
    expected = exact_surface(network(), data)
    found = create(network(), data)
    x, y = zip(*data[:8], strict=True)
    points = grid(weights(network()), *directions(network()), TICKS, TICKS)
    np.testing.assert_allclose(found, surface(network(), (torch.cat(x), torch.cat(y)), points), rtol=1e-12)
    assert abs(found / expected - 1).max() == pytest.approx(0.0932, abs=0.001)
    np.testing.assert_allclose(create(network(), data, num_batches=10), expected, rtol=1e-12)


def test_it_has_no_hessian() -> None:
    package = peer("losscape", "losscape")
    names = [path.stem for path in Path(package.__path__[0]).glob("*.py")]
    assert sorted(names) == ["__init__", "compute_loss", "create_directions", "create_landscape", "train"]


def test_the_network_is_not_as_it_was(create: Any) -> None:
    """Weights come back rounded to float32, and running statistics of a network that trains follow the surface."""
    module: Any = network(nn.BatchNorm1d(5)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    exact_surface(network(nn.BatchNorm1d(5)), batches(20))
    create(module, batches(20))
    assert not torch.equal(module[0].weight, before["0.weight"])
    assert torch.equal(module[0].weight, before["0.weight"].float().double())
    assert module.state_dict()["1.num_batches_tracked"] == before["1.num_batches_tracked"] + SIDE**2
    assert (module.state_dict()["1.running_mean"] - before["1.running_mean"]).abs().max() > 0.1
