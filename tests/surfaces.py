"""Networks, data and planes for benchmarks of loss surfaces, and the walk by hand that they are compared with."""

from __future__ import annotations

import copy
import time
from statistics import median

import torch
from torch import Tensor, nn

from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.landscape import Plane, Span, flat
from thalweg.landscape.directions import filter_normalized, random_direction


def mlp(width: int = 128) -> nn.Module:
    """An MLP of two hidden layers for digits."""
    layers = [nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def convnet(channels: int = 16) -> nn.Module:
    """A ConvNet with batch norm for digits."""
    c, d = channels, 2 * channels
    return nn.Sequential(
        nn.Conv2d(1, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, d, 3, padding=1), nn.BatchNorm2d(d), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * d, 10),
    )  # fmt: skip


def digits(examples: int) -> Supervised:
    """The first digits of scikit-learn, as images."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    inputs = torch.tensor(x / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8)[:examples]
    return Supervised({"train": (inputs, torch.tensor(y)[:examples])}, CrossEntropy(), CLASSIFICATION)


def plane(module: nn.Module, side: int) -> Plane:
    """A filter-normalised random plane through a module's weights, from -1 to 1."""
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


@torch.no_grad()
def seconds_of_products(module: nn.Module, x: Tensor) -> float:
    """The median time of the products of weights and activations in one pass, without the first layer's.

    thalweg computes the first layer's products once for a whole surface.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][1:]
    seen: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for layer in layers]
    module(x)
    for handle in handles:
        handle.remove()
    times = []
    for _ in range(9):
        started = time.perf_counter()
        for layer, inputs in zip(layers, seen, strict=True):
            layer(inputs)
        times.append(time.perf_counter() - started)
    return median(times)
