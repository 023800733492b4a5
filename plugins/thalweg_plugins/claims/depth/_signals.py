"""Networks at initialization, many at once. Imports torch, so it is imported only when a claim is measured.

Weights are drawn by torch's own initializers, as the registered architectures draw theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Draw = Callable[[torch.Generator, int, int], Tensor]
"""Draws (K, n, n) weights: K networks, n units."""


GROUP = 16
"""Networks whose weights are drawn at once, so that they stay in the processor's cache."""


def in_groups(make: Callable[[int], Array], networks: int) -> Array:
    """``make(k)`` gives an array (..., k) of k networks; the array (..., networks), made group by group."""
    sizes = [min(GROUP, networks - first) for first in range(0, networks, GROUP)]
    return np.concatenate([make(size) for size in sizes], axis=-1)


def generator(*numbers: int) -> torch.Generator:
    """A generator whose stream depends on all the numbers."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed) >> 1)


def orthogonal(generator: torch.Generator, networks: int, n: int) -> Tensor:
    """Uniform orthogonal matrices (Mezzadri 2007)."""
    q, r = torch.linalg.qr(torch.randn(networks, n, n, generator=generator))
    found: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return found


def normal(variance_times_n: float) -> Draw:
    """Normal weights of variance ``variance_times_n`` / n: 2 is He's."""

    def drawn(generator: torch.Generator, networks: int, n: int) -> Tensor:
        return torch.randn(networks, n, n, generator=generator) * math.sqrt(variance_times_n / n)

    return drawn


def uniform_of_linear(generator: torch.Generator, networks: int, n: int) -> Tensor:
    """torch's default for ``nn.Linear``: uniform within 1/sqrt(n), of variance 1/(3n)."""
    return (2 * torch.rand(networks, n, n, generator=generator) - 1) / math.sqrt(n)


SERIES = ("ReLU, gain 1", "ReLU, gain sqrt 2", "linear, gain 1")


def squared_jacobians(generator: torch.Generator, networks: int, n: int, depth: int) -> Array:
    """||J_l||_F^2 of each of ``SERIES``, for l = 1, ..., depth and each network: (3, depth, networks).

    J_l = dh_l / dh_0.

    h_l = act(W_l h_(l-1)) with orthogonal W_l and h_0 from N(0, I). For ReLU networks J_l = D_l W_l J_(l-1), where D_l
    is 1 at positive pre-activations and 0 elsewhere. A gain of sqrt 2 multiplies every pre-activation by a positive
    number and changes no D_l, so it multiplies ||J_l||_F^2 by 2^l.
    """
    h = torch.randn(networks, n, 1, generator=generator)
    relu = linear = torch.eye(n).expand(networks, n, n)
    of_relu, of_linear = [], []
    for _ in range(depth):
        w = orthogonal(generator, networks, n)
        z = w @ h
        active = (z > 0).float()
        h = math.sqrt(2) * z * active  # at the gain sqrt 2, so that the numbers stay near one
        relu, linear = active * (w @ relu), w @ linear
        of_relu.append(relu.square().sum((1, 2)))
        of_linear.append(linear.square().sum((1, 2)))
    plain, straight = torch.stack(of_relu).double().numpy(), torch.stack(of_linear).double().numpy()
    return np.stack([plain, plain * 2.0 ** np.arange(1, depth + 1)[:, None], straight])


def mean_squares(draw: Draw, generator: torch.Generator, networks: int, n: int, depth: int) -> Array:
    """M_l = ||h_l||^2 / n for l = 0, ..., depth and each network, (depth + 1, networks): ReLU layers, no biases.

    h_0 comes from N(0, I), drawn for each network.
    """
    h = torch.randn(networks, n, 1, generator=generator)
    found = [h.square().mean((1, 2))]
    for _ in range(depth):
        h = torch.relu(draw(generator, networks, n) @ h)
        found.append(h.square().mean((1, 2)))
    return torch.stack(found).double().numpy()


def residual_mean_squares(generator: torch.Generator, networks: int, n: int, blocks: int) -> Array:
    """M_l of networks with h <- h + f(h) / L, L blocks, f two ReLU layers with He's weights: (L + 1, networks)."""
    draw = normal(2.0)
    h = torch.randn(networks, n, 1, generator=generator)
    found = [h.square().mean((1, 2))]
    for _ in range(blocks):
        f = torch.relu(draw(generator, networks, n) @ torch.relu(draw(generator, networks, n) @ h))
        h = h + f / blocks
        found.append(h.square().mean((1, 2)))
    return torch.stack(found).double().numpy()


def growths(generator: torch.Generator, networks: int, n: int, depth: int, signed: bool, relu: bool) -> Array:
    """ln(||h_l|| / ||h_(l-1)||) of each layer and network, (depth, networks), for weights from U(1, 2) or +-U(1, 2).

    The input comes from N(0, I) with random signs, and from U(0, 1) with positive weights. Each layer's output is
    divided by its norm, because 20 layers exceed float32.
    """
    h = torch.randn(networks, n, 1, generator=generator) if signed else torch.rand(networks, n, 1, generator=generator)
    found = []
    for _ in range(depth):
        w = 1 + torch.rand(networks, n, n, generator=generator)
        if signed:
            w = torch.where(torch.rand(w.shape, generator=generator) < 0.5, -w, w)
        before = h.norm(dim=1, keepdim=True)
        h = w @ h
        if relu:
            h = torch.relu(h)
        norm = h.norm(dim=1, keepdim=True)
        found.append((norm / before).log().flatten())
        h = h / norm
    return torch.stack(found).double().numpy()


def slope(values: Array) -> float:
    """The least-squares slope of values at l = 0, 1, ..."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])
