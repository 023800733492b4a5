"""The spectral density of a matrix that is given by its products, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.curvature.cg import Matvec
from thalweg.curvature.lanczos import Tridiagonal, lanczos, random_start


@dataclass(frozen=True)
class Density:
    """A smoothed spectral density, one row for each draw, in float64 on the CPU. Each row integrates to 1."""

    grid: Tensor
    """Eigenvalues, shape (G,)."""
    draws: Tensor
    """Densities, shape (draws, G)."""
    sigma: float
    """The Gaussian's standard deviation."""


def quadratures(matvec: Matvec, like: Tensor, steps: int, draws: int, generator: torch.Generator) -> list[Tridiagonal]:
    """Runs of Lanczos' method, fully reorthogonalised, each from a random start.

    Args:
        matvec: v -> A v.
        like: a vector (P,) with the size, type and device of v.
        steps: steps of each run, with one product each.
        draws: the number of runs.
        generator: draws the starts, uniform over directions.

    Raises:
        ValueError: there are no steps or no draws, or a product is not finite.
    """
    for name, given in (("steps", steps), ("draws", draws)):
        if given < 1:
            raise ValueError(f"{name} = {given}: it must be 1 or more")
    return [lanczos(matvec, random_start(like, generator), steps, keep_basis=False) for _ in range(draws)]


def width(low: float, high: float, steps: int) -> float:
    """(high - low) / steps: the standard deviation of the narrowest Gaussian that a quadrature of ``steps`` resolves.

    A quadrature of m nodes is exact for polynomials of degree 2 m - 1. A polynomial of this degree approximates a
    Gaussian of this width on the interval with an error of about e^-8 of the peak. If all eigenvalues are equal, their
    absolute value replaces the length of the interval; if it is zero, 1 does.
    """
    return ((high - low) or abs(high) or 1.0) / steps


def spectral_density(
    runs: Sequence[Tridiagonal], sigma: float, points: int = 401, ends: tuple[float, float] | None = None
) -> Density:
    """phi(t) = sum_i w_i N(t; theta_i, sigma^2) for each run, with its nodes theta_i and weights w_i.

    The mean over runs estimates 1/P sum_j N(t; lambda_j, sigma^2).

    Args:
        runs: runs of Lanczos' method, each from a random vector.
        sigma: the standard deviation of the Gaussian; see ``width``.
        points: the number of grid points. The grid reaches 4 sigma beyond the outermost eigenvalues.
        ends: the outermost eigenvalues, if they are known better than from ``runs``.

    Source: Golub & Welsch 1969; Ghorbani, Krishnan & Xiao 2019, section 3 and algorithm 1.

    >>> from thalweg.curvature import lanczos
    >>> a = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64))
    >>> run = lanczos(a.matmul, torch.ones(2, dtype=torch.float64), 2)
    >>> found = spectral_density([run], 0.1)
    >>> round(float(torch.trapezoid(found.draws[0], found.grid)), 3)
    1.0
    """
    nodes_and_weights = [run.quadrature() for run in runs]
    low = min(float(nodes.min()) for nodes, _ in nodes_and_weights)
    high = max(float(nodes.max()) for nodes, _ in nodes_and_weights)
    if ends is not None:
        low, high = min(low, ends[0]), max(high, ends[1])
    grid = torch.linspace(low - 4 * sigma, high + 4 * sigma, points, dtype=torch.float64)
    return Density(grid, torch.stack([smoothed(*pair, grid, sigma) for pair in nodes_and_weights]), sigma)


def smoothed(nodes: Tensor, weights: Tensor, grid: Tensor, sigma: float) -> Tensor:
    """sum_i w_i N(t; theta_i, sigma^2) at each t of a grid (G,), for nodes and weights (m,)."""
    kernel = torch.exp(-0.5 * ((grid[:, None] - nodes) / sigma).square()) / (sigma * math.sqrt(2 * math.pi))
    return kernel @ weights
