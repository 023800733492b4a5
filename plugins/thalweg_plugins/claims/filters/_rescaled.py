"""Networks rescaled so that their outputs stay. Imports torch, so it is imported only when a claim is measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from thalweg.contracts import Draw, Shape
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg_plugins.architectures.mlp import MLP
from thalweg_plugins.claims.stepping import Steps, loaded
from thalweg_plugins.optimizers.first_order.sgd import SGD
from thalweg_plugins.problems.digits import Digits

FACTOR = 10.0
EPS = 1e-30
"""Batch norm's constant. Its usual value of 1e-5 alone moves the curve by 2e-5."""


@dataclass(frozen=True)
class Pair:
    """A network, the same function with other weights, and the source of batch norm's statistics."""

    before: nn.Sequential
    after: nn.Sequential
    statistics: Literal["batch", "running"]


def network(seed: int, norm: str, steps: int = 50) -> tuple[Supervised, nn.Sequential]:
    """The registered mlp of two hidden layers of 32 units on digits, after a few steps of SGD, in float64."""
    problem = loaded(Digits())
    assert isinstance(problem, Supervised)
    options = resolve(MLP().options, {"widths": (32, 32), "norm": norm}, "mlp")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = MLP().build(options, Shape("classification", (64,), (10,))).double()
    assert isinstance(module, nn.Sequential)
    for part in module:
        if isinstance(part, nn.BatchNorm1d):
            part.eps = EPS
    Steps(SGD(), problem, module, Draw(seed, 64), lr=0.1).step(steps)
    return problem, module


def linears(module: nn.Sequential) -> list[nn.Linear]:
    """The linear layers, from input to output."""
    return [part for part in module if isinstance(part, nn.Linear)]


@torch.no_grad()
def in_front_of_batch_norm(module: nn.Sequential, factors: list[Tensor]) -> nn.Sequential:
    """Weights and bias of each unit of the hidden layers times a positive factor, and the running statistics with them.

    Args:
        module: linear layers, each hidden one followed by batch norm.
        factors: for each hidden layer the units' factors (n,).
    """
    after = copy.deepcopy(module)
    norms = [part for part in after if isinstance(part, nn.BatchNorm1d)]
    for layer, norm, factor in zip(linears(after), norms, factors, strict=False):
        layer.weight.mul_(factor[:, None])
        layer.bias.mul_(factor)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.mul_(factor)
        norm.running_var.mul_(factor**2)
    return after


@torch.no_grad()
def pair_of_relu_layers(module: nn.Sequential, factor: float) -> nn.Sequential:
    """Weights and bias of the first layer times a factor, weights of the second divided by it."""
    after = copy.deepcopy(module)
    first, second = linears(after)[:2]
    first.weight.mul_(factor)
    first.bias.mul_(factor)
    second.weight.div_(factor)
    return after


def pairs(seed: int) -> tuple[Supervised, dict[str, Pair]]:
    """The pairs of each setting of claim K1, and the data."""
    problem, normed = network(seed, "batch")
    _, plain = network(seed, "none")
    same = [torch.full((32,), FACTOR, dtype=torch.float64)] * 2
    generator = torch.Generator().manual_seed(seed)
    # from 1/10 to 10 on a logarithmic scale
    each = [FACTOR ** (2 * torch.rand(32, generator=generator, dtype=torch.float64) - 1) for _ in range(2)]
    scaled = in_front_of_batch_norm(normed, same)
    return problem, {
        "batch norm, batch statistics": Pair(normed, scaled, "batch"),
        "batch norm, running statistics": Pair(normed, scaled, "running"),
        "pairs of ReLU layers": Pair(plain, pair_of_relu_layers(plain, FACTOR), "running"),
        "single filters": Pair(normed, in_front_of_batch_norm(normed, each), "batch"),
    }
