"""How much of a trial's budget is spent, and how much is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from thalweg.contracts.budget import Budget
from thalweg.contracts.costs import Counts


@dataclass
class Spent:
    """The steps and seconds that a training has spent. Seconds exclude evaluations, probes and the loading of data."""

    step: int = 0
    seconds: float = 0.0


@dataclass
class Meter:
    """Compares what is spent with a budget.

    Args:
        budget: the trial's.
        spent: steps and seconds so far; changes while the trial trains.
        counts: evaluations so far; changes while the trial trains.
        steps_per_epoch: steps of an epoch at the trial's batch size.
        work: gives the work so far.
    """

    budget: Budget
    spent: Spent
    counts: Counts
    steps_per_epoch: int
    work: Callable[[], float]

    @cached_property
    def total(self) -> int:
        """The whole budget, in whole steps, gradient evaluations, gradients of one example or seconds."""
        steps = self.budget.total_steps(self.steps_per_epoch)
        other = self.budget.gradient_evaluations or self.budget.work or math.ceil(self.budget.seconds or 1)
        return steps or int(other)

    @property
    def used(self) -> int:
        """The spent part of the budget, in the unit of ``total``."""
        return int(self._used)

    @cached_property
    def _whole(self) -> float:
        return self.budget.seconds or self.total

    @property
    def share(self) -> float:
        """The share of the budget that is spent."""
        return self._used / self._whole

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self._used >= self._whole

    @property
    def _used(self) -> float:
        if self.budget.gradient_evaluations is not None:
            return self.counts.gradient_evaluations
        if self.budget.work is not None:
            return self.work()
        return self.spent.seconds if self.budget.seconds is not None else self.spent.step
