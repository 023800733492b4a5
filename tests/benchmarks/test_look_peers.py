"""A surface of a notebook against packages for surfaces: equal directions, grid, data, dtype and one thread.

Both sides begin with a module, a loss and a pair of tensors. ``pip install --no-deps -r tests/peers/pins.txt``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from look_peers import Floats, directions, like, loss, losses_of, peer, weights
from surfaces import convnet, digits, mlp
from thalweg import look
from timing import ratio

SIDE = 25
TICKS = np.linspace(-1, 1, SIDE)
PAIRS = 7
NETWORKS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "convnet": convnet}
"""Networks of float32."""

group = pytest.mark.benchmark(group="looking against packages for surfaces, equal directions")
networks = pytest.mark.parametrize("name", NETWORKS)


def made(name: str) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    return NETWORKS[name]().eval(), digits(128).data["train"]


def ours_of(module: nn.Module, data: tuple[Tensor, Tensor]) -> Callable[[], Floats]:
    return lambda: losses_of(look.surface(module, "cross_entropy", data, resolution=SIDE, progress=False))


def compare(benchmark: Any, ours: Callable[[], Floats], theirs: Callable[[], Floats]) -> None:
    """Check that the losses are equal, and record the ratio of the times."""
    np.testing.assert_allclose(ours(), theirs(), rtol=2e-4)
    benchmark.extra_info["ratio"] = ratio(ours, theirs, PAIRS)
    benchmark.pedantic(ours, rounds=1)


@group
@networks
def test_nngeom(benchmark: Any, name: str) -> None:
    lossland, nngeom = peer("nngeom.lossland", "nngeom"), peer("nngeom", "nngeom")
    module, data = made(name)
    model = nngeom.Model(module, loss_fn=loss)
    ends = [one.numpy().astype(np.float64) for one in directions(module)]

    def theirs() -> Floats:
        return np.asarray(lossland.plane_slice_2d(model, data, steps=SIDE, directions=ends).losses).T

    compare(benchmark, ours_of(module, data), theirs)


@group
@networks
def test_loss_landscape_3d(benchmark: Any, name: str) -> None:
    package = peer("loss_landscape_3d", "loss-landscape-3d")
    module, data = made(name)
    names = [one for one, _ in module.named_parameters()]
    ends = [dict(zip(names, like(module, one), strict=True)) for one in directions(module)]
    center = {key: value.clone() for key, value in module.state_dict().items()}
    calculator = package.LossLandscapeCalculator(module, [data], nn.CrossEntropyLoss())

    def theirs() -> Floats:
        return np.asarray(calculator.calculate(TICKS, TICKS, *ends, center))

    compare(benchmark, ours_of(module, data), theirs)


@group
@networks
def test_loss_landscapes(benchmark: Any, name: str) -> None:
    """Its even rows lie one step beside ours, so that both sides share 613 of 625 points."""
    package = peer("loss_landscapes", "loss-landscapes")
    metrics = peer("loss_landscapes.metrics", "loss-landscapes")
    module, data = made(name)
    first, second = directions(module)
    start, step = weights(module) - first - second, 2 / (SIDE - 1)
    corners = []
    for corner in (start, start + SIDE * step * first, start + SIDE * step * second):
        corners.append(NETWORKS[name]().eval())
        with torch.no_grad():
            nn.utils.vector_to_parameters(corner.clone(), corners[-1].parameters())
    metric, ours = metrics.Loss(nn.CrossEntropyLoss(), *data), ours_of(module, data)

    def theirs() -> Floats:
        with torch.no_grad():  # it keeps graphs otherwise, which costs it more
            return np.asarray(package.planar_interpolation(*corners, metric, SIDE, deepcopy_model=True))

    expected, found = ours(), theirs()
    # its steps add up in float32
    np.testing.assert_allclose(found[1::2], expected[1::2], rtol=1e-3)
    np.testing.assert_allclose(found[::2, :-1], expected[::2, 1:], rtol=1e-3)
    benchmark.extra_info["ratio"] = ratio(ours, theirs, PAIRS)
    benchmark.pedantic(ours, rounds=1)
