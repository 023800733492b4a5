"""Surfaces against libraries for loss surfaces, on equal directions and data, in one process.

Each library is needed for its own test: ``pip install --no-deps nngeom==0.2.0 loss-landscape-3d==0.1.3
landscaper==1.3.1 loss-landscapes==3.0.6``, and for landscaper ``nglpy topopy samply coloraide drawsvg gudhi networkx
matplotlib tqdm`` too.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from surfaces import digits, mlp, plane, seconds_of_products
from thalweg.contracts.supervised import Supervised
from thalweg.landscape import Plane, Span, flat, losses_at
from timing import ratios, record

SIDE = 25
PAIRS = 7
Floats = NDArray[np.float64]


def split(module: nn.Module, vector: Tensor) -> list[Tensor]:
    parameters = list(module.parameters())
    pieces = vector.split([p.numel() for p in parameters])
    return [piece.view_as(p).clone() for piece, p in zip(pieces, parameters, strict=True)]


def compare(
    benchmark: Any, row: str, module: nn.Module, data: Supervised, points: Span, theirs: Callable[[], Floats]
) -> None:
    """Check that both sides compute equal losses, and record the ratio of their times."""

    def ours() -> Floats:
        return losses_at(module, data, points, metrics=["loss"])["loss"].view(SIDE, SIDE).numpy()

    np.testing.assert_allclose(ours(), theirs(), rtol=1e-4, equal_nan=True)
    values = ratios(ours, theirs, PAIRS)
    floor = seconds_of_products(module, data.data["train"][0]) * SIDE**2
    record(benchmark, row, values, floor / median(seconds(theirs) for _ in range(3)))
    benchmark.pedantic(ours, rounds=1)


def seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


@pytest.mark.benchmark(group="a surface against peers, equal directions")
def test_nngeom(benchmark: Any) -> None:
    lossland = pytest.importorskip("nngeom.lossland")
    from nngeom import Model

    module, data = mlp(), digits(128)
    x, y = data.data["train"]
    points = plane(module, SIDE)
    model = Model(module, loss_fn=lambda m, batch: cross_entropy(m(batch[0]), batch[1]))
    directions = [vector.numpy().astype(np.float64) for vector in points.vectors[1:]]

    def theirs() -> Floats:
        return np.asarray(lossland.plane_slice_2d(model, (x, y), steps=SIDE, directions=directions).losses)

    compare(benchmark, "surface-mlp-128-nngeom", module, data, points, theirs)


@pytest.mark.benchmark(group="a surface against peers, equal directions")
def test_loss_landscape_3d(benchmark: Any) -> None:
    calculator = pytest.importorskip("loss_landscape_3d.calculator")
    module, data = mlp(), digits(128)
    points = plane(module, SIDE)
    names = [name for name, _ in module.named_parameters()]
    center, d1, d2 = (dict(zip(names, split(module, vector), strict=True)) for vector in points.vectors)
    surface = calculator.LossLandscapeCalculator(module, [data.data["train"]], nn.CrossEntropyLoss())
    ticks = np.linspace(-1, 1, SIDE)

    def theirs() -> Floats:
        return np.asarray(surface.calculate(ticks, ticks, d1, d2, center)).T

    compare(benchmark, "surface-mlp-128-loss-landscape-3d", module, data, points, theirs)


@pytest.mark.benchmark(group="a surface against peers, equal directions")
def test_landscaper(benchmark: Any) -> None:
    """landscaper scales the directions itself, and adds noise to the largest loss, which is left out here."""
    compute = pytest.importorskip("landscaper.compute")
    module, data = mlp(), digits(128)
    random = plane(module, SIDE).vectors
    d1, d2 = (split(module, vector) for vector in random[1:])
    start = [p.data for p in module.parameters()]

    def scaled(direction: list[Tensor]) -> Tensor:
        unit = compute.normalize_direction([piece.clone() for piece in direction], start)
        length = compute.get_model_norm(start) / (SIDE / 2)
        return torch.cat([piece.flatten() for piece in unit]) * length / compute.get_model_norm(unit)

    steps = [float(i - SIDE // 2) for i in range(SIDE)]
    points = Plane(flat(module), scaled(d1), scaled(d2), steps, steps)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> float:
        return cross_entropy(model(batch[0]), batch[1]).item()

    highest = losses_at(module, data, points, metrics=["loss"])["loss"].view(SIDE, SIDE)

    def theirs() -> Floats:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found, _ = compute.compute_loss_landscape(
                module, data.data["train"], [d1, d2], loss, SIDE, 1.0, dim=2, device="cpu"
            )
        return np.where(highest == highest.max(), highest, np.asarray(found).T)

    compare(benchmark, "surface-mlp-128-landscaper", module, data, points, theirs)


@pytest.mark.benchmark(group="a surface against peers, equal directions")
def test_loss_landscapes(benchmark: Any) -> None:
    """In loss-landscapes, rows of odd number lie one step of the second direction before those of even number."""
    loss_landscapes = pytest.importorskip("loss_landscapes")
    from loss_landscapes.metrics import Loss

    module, data = mlp(), digits(128)
    x, y = data.data["train"]
    vectors = plane(module, SIDE).vectors
    first, second = (mlp() for _ in range(2))
    for end, direction in ((first, vectors[1]), (second, vectors[2])):
        nn.utils.vector_to_parameters(vectors[0] + direction, end.parameters())
    places = [(1.0, i / SIDE, (j + (i % 2 == 0)) / SIDE) for i in range(SIDE) for j in range(SIDE)]
    points = Span(vectors, torch.tensor(places, dtype=torch.float64))
    metric = Loss(nn.CrossEntropyLoss(), x, y)

    def theirs() -> Floats:
        with torch.no_grad():  # it keeps graphs otherwise, which costs it more
            plane = loss_landscapes.planar_interpolation(module, first, second, metric, SIDE, deepcopy_model=True)
        return np.asarray(plane)

    compare(benchmark, "surface-mlp-128-loss-landscapes-in-process", module, data, points, theirs)
