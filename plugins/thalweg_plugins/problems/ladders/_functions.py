"""Functions whose steps see random draws. Imports torch, so it is imported only when a problem is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.problem import Batch, Draw, Metric, Split
from thalweg_plugins.problems.ladders._rung import DIM

BLOCK = 512
"""The steps whose draws are made at once."""


class SampledFunction(AnalyticFunction):
    """Step t sees f(x; z_t), with z_t drawn from the trial's seed; evaluations see the expectation f(x).

    A full batch is the expectation too, so noise needs a batch size of 1.

    Args:
        f: the expectation, (D,) -> scalar.
        sampled: f(x; z), (D,) and (Z,) -> scalar.
        draws: draws z for several steps from a generator, (steps, Z) in float64.
        start: draws the starting point, (D,) in float64.
        metric: how the value is read.
    """

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        sampled: Callable[[Tensor, Tensor], Tensor],
        draws: Callable[[torch.Generator, int], Tensor],
        start: Callable[[torch.Generator], Tensor],
        metric: Metric,
    ) -> None:
        super().__init__(f, start, metric, minimum=0.0)
        self._sampled, self._draws = sampled, draws
        self._block: tuple[tuple[int, int], Tensor] | None = None

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """The batch of step t, whose only input is z_t; a full batch has no input."""
        if draw.batch_size is None:
            return super().batch(split, step, draw)
        number, position = divmod(step, BLOCK)
        if self._block is None or self._block[0] != (draw.seed, number):
            self._block = ((draw.seed, number), self._draws(draw.generator("draws", number), BLOCK))
        return Batch(self._block[1][position], None, 1)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """f(x; z); f(x) on a full batch."""
        x: Tensor = module()
        if batch.inputs is None:
            return self.f(x)
        return self._sampled(x, batch.inputs.to(x))


class MovingFunction(AnalyticFunction):
    """Step t sees f(x - m(t)), whose minimum m(t) moves.

    Args:
        f: the function, (D,) -> scalar.
        path: m(t), (D,) in float64.
        resting: the mean of f(x - m(t)) over the path, (D,) -> scalar.
        start: draws the starting point, (D,) in float64.
        metrics: ``mean_loss`` and ``loss``.
    """

    online = True

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        path: Callable[[int], Tensor],
        resting: Callable[[Tensor], Tensor],
        start: Callable[[torch.Generator], Tensor],
        metrics: tuple[Metric, ...],
    ) -> None:
        super().__init__(resting, start)
        self.metrics = metrics
        self._moving, self._path = f, path

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """The batch of step t, whose only input is m(t)."""
        return Batch(self._path(step), None, 1)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """f(x - m(t))."""
        assert batch.inputs is not None
        x: Tensor = module()
        return self._moving(x - batch.inputs.to(x))

    def online_metrics(self, steps: int, total: float, draw: Draw) -> dict[str, float]:
        """The mean loss of the steps so far; nan before the first."""
        return {"mean_loss": total / steps if steps else math.nan}


def bowl(kappa: float) -> tuple[Tensor, Tensor]:
    """H (DIM, DIM) with eigenvalues from 1 / kappa to 1, geometric, and H^{-1/2}, in float64; drawn once."""
    generator = torch.Generator().manual_seed(0)
    q, r = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64))
    q = q * r.diagonal().sign()
    eigenvalues = torch.logspace(-math.log10(kappa), 0, DIM, dtype=torch.float64)
    return (q * eigenvalues) @ q.T, (q * eigenvalues.rsqrt()) @ q.T


def quadratic(h: Tensor) -> Callable[[Tensor], Tensor]:
    """x -> x' H x / 2."""
    return lambda x: 0.5 * x @ (h.to(x) @ x)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)
