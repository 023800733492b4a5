"""Surfaces from few evaluations: how many for 1% of the range, and their error against a spline's from as many."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import RectBivariateSpline
from torch import nn

from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.landscape.adaptive import adaptive_surface
from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.landscape.evaluate import Span, flat, losses_at

EXAMPLES = 256
FINE = np.linspace(-1, 1, 51)
COARSE = np.linspace(-1, 1, 11)


def mlp() -> nn.Module:
    layers = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def deep() -> nn.Module:
    """Sixteen hidden layers without shortcuts or normalization."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in [64] + 15 * [128]:
        layer = nn.Linear(width, 128)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


@cache
def surface(build: Callable[[], nn.Module], epochs: int) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """The loss of a trained network on a filter-normalised random plane, as a function and on a grid of 51 x 51."""
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(inputs / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
    torch.manual_seed(0)
    module = build()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
            optimizer.step()
    module.eval()
    data = Supervised({"train": (x[:EXAMPLES], y[:EXAMPLES])}, CrossEntropy(), CLASSIFICATION)
    generator = torch.Generator().manual_seed(0)
    d1, d2 = (filter_normalized(module, random_direction(module, generator)) for _ in range(2))
    vectors = torch.stack([flat(module), d1, d2])

    def losses(points: np.ndarray) -> np.ndarray:
        coordinates = torch.cat([torch.ones(len(points), 1).double(), torch.from_numpy(points)], 1)
        return np.asarray(losses_at(module, data, Span(vectors, coordinates), metrics=("loss",))["loss"].numpy())

    return losses, on_grid(losses, FINE)


def on_grid(losses: Callable[[np.ndarray], np.ndarray], ticks: np.ndarray) -> np.ndarray:
    return losses(np.array([(x, y) for y in ticks for x in ticks])).reshape(len(ticks), len(ticks))


@pytest.mark.slow
@pytest.mark.benchmark(group="a surface from few evaluations")
@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize(("build", "epochs"), [(mlp, 15), (convnet, 8), (deep, 25)], ids=["mlp", "convnet", "deep"])
def test_an_adaptive_surface(benchmark: Any, build: Callable[[], nn.Module], epochs: int, scale: str) -> None:
    """``ratio``: the largest error from 121 evaluations over that of a bicubic spline through 11 x 11 even points."""
    losses, fine = surface(build, epochs)
    log = scale == "log"

    def chart(v: np.ndarray) -> np.ndarray:
        return np.log(v) if log else v

    exact = chart(fine)

    def error(found: np.ndarray) -> float:
        """The largest error as a share of the range; ``found`` is on the requested scale."""
        return float(np.abs(found - exact).max() / np.ptp(exact))

    def run(tolerance: float, most: int) -> Any:
        generator = np.random.default_rng(0)
        return adaptive_surface(losses, (-1, 1), (-1, 1), tolerance, log=log, most=most, generator=generator)

    found = benchmark.pedantic(lambda: run(0.01, 289), rounds=1)
    equal = run(1e-9, len(COARSE) ** 2)
    spline = RectBivariateSpline(COARSE, COARSE, chart(on_grid(losses, COARSE)))(FINE, FINE)
    assert equal.evaluations == len(COARSE) ** 2
    benchmark.extra_info["ratio"] = round(error(chart(equal.grid(FINE, FINE))) / error(spline), 3)
    benchmark.extra_info["evaluations"] = found.evaluations
    benchmark.extra_info["true_max_error"] = round(error(chart(found.grid(FINE, FINE))), 5)
    benchmark.extra_info["max_error"] = round(found.max_error, 5)
    benchmark.extra_info["reached"] = found.reached
