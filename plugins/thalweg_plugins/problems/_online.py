"""Online linear problems on [-1, 1]. Imports torch, so it is imported only when a problem is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from thalweg.contracts.problem import Batch, Draw, LoadedProblem, Metric, Split


class Slopes(Protocol):
    """A sequence of numbers c_0, c_1, ..., which the draw determines."""

    period: int
    """The number of steps after which the sequence repeats; for a random sequence, the mean distance of rare steps."""
    mean: float
    """The mean of c_t in the long run."""

    def block(self, number: int, draw: Draw) -> Tensor:
        """c_t for BLOCK steps from t = number * BLOCK on, in float64 on the CPU."""

    def total(self, steps: int, draw: Draw) -> float:
        """c_0 + ... + c_{steps - 1}."""


BLOCK = 4096
EPOCH = 1000


class Periodic:
    """``first`` at steps 0, period, 2 period, ...; ``other`` at the rest."""

    def __init__(self, first: float, other: float, period: int) -> None:
        self.first, self.other, self.period = first, other, period
        self.mean = (first + (period - 1) * other) / period

    def block(self, number: int, draw: Draw) -> Tensor:
        """See ``Slopes``; the draw does not matter."""
        steps = torch.arange(number * BLOCK, (number + 1) * BLOCK)
        return torch.where(steps % self.period == 0, self.first, self.other).double()

    def total(self, steps: int, draw: Draw) -> float:
        """The sum in closed form."""
        firsts = -(-steps // self.period)
        return firsts * self.first + (steps - firsts) * self.other


class Stochastic:
    """``rare`` with probability p, else ``other``, drawn from the trial's seed."""

    def __init__(self, rare: float, other: float, p: float) -> None:
        self.rare, self.other, self.p = rare, other, p
        self.period = round(1 / p)
        self.mean = p * rare + (1 - p) * other
        self._sums: dict[int, list[float]] = {}

    def block(self, number: int, draw: Draw) -> Tensor:
        """Independent draws."""
        uniform = torch.rand(BLOCK, generator=draw.generator("slopes", number), dtype=torch.float64)
        return torch.where(uniform < self.p, self.rare, self.other).double()

    def total(self, steps: int, draw: Draw) -> float:
        """See ``Slopes``. Sums of whole blocks are kept, since training asks for totals often."""
        whole, rest = divmod(steps, BLOCK)
        sums = self._sums.setdefault(draw.seed, [0.0])
        while len(sums) <= whole:
            sums.append(sums[-1] + float(self.block(len(sums) - 1, draw).sum()))
        return sums[whole] + float(self.block(whole, draw)[:rest].sum())


class OnlineLinear(LoadedProblem):
    """f_t(x) = c_t x on [-1, 1]: see the problem ``rkk18``."""

    online = True

    def __init__(
        self, slopes: Slopes, metrics: tuple[Metric, ...], start: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.slopes = slopes
        self.metrics = metrics
        self.sizes = {"train": slopes.period}
        self._start = start
        self._device, self._dtype = device, dtype
        self._block: tuple[tuple[int, int], Tensor] | None = None

    def steps_per_epoch(self, batch_size: int | None) -> int:
        """The fewest whole periods that have EPOCH steps. Evaluating every period would cost more than its steps."""
        return -(-EPOCH // self.slopes.period) * self.slopes.period

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """The batch of step t, whose only input is c_t."""
        number, position = divmod(step, BLOCK)
        if self._block is None or self._block[0] != (draw.seed, number):
            self._block = ((draw.seed, number), self.slopes.block(number, draw).to(self._device, self._dtype))
        return Batch(self._block[1][position], None, 1)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """c_t x."""
        assert batch.inputs is not None
        loss: Tensor = batch.inputs * module().squeeze()
        return loss

    @torch.no_grad()
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """x, and the mean loss of playing x for ever."""
        x = float(module())
        return {"loss": self.slopes.mean * x, "x": x}

    def online_metrics(self, steps: int, total: float, draw: Draw) -> dict[str, float]:
        """The regret per step, nan before the first step. The minimum of x sum c_t over [-1, 1] is -|sum c_t|."""
        best = -abs(self.slopes.total(steps, draw))
        return {"average_regret": (total - best) / steps if steps else math.nan}

    @torch.no_grad()
    def initialize(self, module: nn.Module, draw: Draw) -> None:
        """Move x to the declared start, for every seed."""
        (x,) = module.parameters()
        x.fill_(self._start)

    @torch.no_grad()
    def project(self, parameters: Iterable[nn.Parameter]) -> None:
        """Move x to the nearest point of [-1, 1]."""
        for x in parameters:
            x.clamp_(-1.0, 1.0)
