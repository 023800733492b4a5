"""Times of surfaces of 25 x 25 points against evaluation point by point."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.landscape.evaluate import Plane, flat, losses_at
from thalweg.landscape.points import Span
from timing import ratio

SIDE = 25
PAIRS = 3


def mlp() -> nn.Module:
    layers = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def digits(examples: int) -> Supervised:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    inputs = torch.tensor(x / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8)[:examples]
    return Supervised({"train": (inputs, torch.tensor(y)[:examples])}, CrossEntropy(), CLASSIFICATION)


def plane(module: nn.Module, side: int) -> Plane:
    generator = torch.Generator().manual_seed(0)
    d1, d2 = (filter_normalized(module, random_direction(module, generator)) for _ in range(2))
    ticks = [2 * i / (side - 1) - 1 for i in range(side)]
    return Plane(flat(module), d1, d2, ticks, ticks)


@torch.no_grad()
def by_hand(module: nn.Module, data: Supervised, points: Span) -> Tensor:
    """Write each point into the parameters and evaluate the loss of all examples: what libraries for surfaces do."""
    walker = copy.deepcopy(module)
    x, y = data.data["train"]
    parameters = list(walker.parameters())
    found = []
    for point in points:
        for parameter, piece in zip(parameters, point.split([p.numel() for p in parameters]), strict=True):
            parameter.copy_(piece.view_as(parameter))
        found.append(nn.functional.cross_entropy(walker(x), y).item())
    return torch.tensor(found, dtype=torch.float64)


def compare(benchmark: Any, ours: Callable[[], Tensor], theirs: Callable[[], Tensor]) -> None:
    """Check that both results agree, then time both in alternating pairs, so that other load slows down both."""
    torch.testing.assert_close(ours(), theirs(), rtol=1e-4, atol=1e-6)
    benchmark.extra_info["ratio"] = ratio(ours, theirs, PAIRS)
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.benchmark(group="a surface against a walk by hand")
@pytest.mark.parametrize(
    ("build", "examples", "side"),
    [(mlp, 1797, SIDE), (mlp, 128, SIDE), (convnet, 1797, 5), (convnet, 128, SIDE)],
    ids=["mlp-1797", "mlp-128", "convnet-1797", "convnet-128"],
)
def test_a_surface(benchmark: Any, build: Callable[[], nn.Module], examples: int, side: int) -> None:
    torch.manual_seed(0)
    module, data = build().eval(), digits(examples)
    points = plane(module, side)
    compare(
        benchmark,
        lambda: losses_at(module, data, points, metrics=("loss",))["loss"],
        lambda: by_hand(module, data, points),
    )
    # the products of weights with activations alone, which no method avoids on a CPU but for the first layer
    x = data.data["train"][0]
    with torch.no_grad():
        products = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        seen: list[Tensor] = []
        handles = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for layer in products]
        module(x)
        for handle in handles:
            handle.remove()
        times = []
        for _ in range(5):
            started = time.perf_counter()
            for layer, inputs in zip(products, seen, strict=True):
                layer(inputs)
            times.append(time.perf_counter() - started)
    benchmark.extra_info["milliseconds_a_point_of_products_alone"] = round(1e3 * median(times), 3)
