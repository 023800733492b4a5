"""How much of a trial's budget is spent, and how much is left."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Counts


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
    """

    budget: Budget
    spent: Spent
    counts: Counts
    steps_per_epoch: int

    @property
    def total(self) -> int:
        """The whole budget, in whole steps, gradient evaluations or seconds."""
        steps = self.budget.total_steps(self.steps_per_epoch)
        return steps or int(self.budget.gradient_evaluations or math.ceil(self.budget.seconds or 1))

    @property
    def used(self) -> int:
        """The spent part of the budget, in the unit of ``total``."""
        if self.budget.gradient_evaluations is not None:
            return self.counts.gradient_evaluations
        return int(self.spent.seconds) if self.budget.seconds is not None else self.spent.step

    @property
    def share(self) -> float:
        """The share of the budget that is spent."""
        return self.used / self.total if self.budget.seconds is None else self.spent.seconds / self.budget.seconds

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        if self.budget.seconds is not None:
            return self.spent.seconds >= self.budget.seconds
        return self.used >= self.total
