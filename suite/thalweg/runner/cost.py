"""Estimates how long trials take, from similar trials, and how much time a run still needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import mean

from thalweg.plan import PlannedTrial
from thalweg.store.stored import Stored

Usual = Mapping[tuple[str, str], float]
"""Seconds of a trial by workload and optimizer. An empty optimizer stands for all optimizers of the workload."""


def usual_seconds(stored: Stored) -> dict[tuple[str, str], float]:
    """Median seconds of finished trials by workload and optimizer, and by workload."""
    done = stored.trials[(stored.trials["status"] == "done") & stored.trials["seconds"].notna()]
    pairs = done.groupby(["workload", "optimizer"])["seconds"].median()
    alone = done.groupby("workload")["seconds"].median()
    found = dict(zip(pairs.index.tolist(), pairs.tolist(), strict=True))
    return found | {(str(name), ""): value for name, value in zip(alone.index, alone.tolist(), strict=True)}


def usual_of(planned: PlannedTrial, usual: Usual) -> float | None:
    """The seconds that similar trials took; None where there is no similar trial."""
    return usual.get((planned.workload, planned.optimizer), usual.get((planned.workload, "")))


class TimeLeft:
    """The time that a run still needs: the cost of the trials that are left, at the rate of the run so far.

    The rate reflects how many trials train at once, and how fast this machine is.
    """

    def __init__(self, trials: Iterable[PlannedTrial], usual: Usual) -> None:
        costs = {planned.trial.hash: usual_of(planned, usual) for planned in trials}
        known = [cost for cost in costs.values() if cost]
        other = mean(known) if known else 1.0
        self.costs = {hash_: cost or other for hash_, cost in costs.items()}
        self.total = sum(self.costs.values())
        self.ended = 0.0
        self.in_hand: dict[str, float] = {}

    def step(self, planned: PlannedTrial, done: int, total: int) -> None:
        """Take note of the steps that a trial has done."""
        self.in_hand[planned.trial.hash] = self.costs[planned.trial.hash] * done / max(total, 1)

    def end(self, planned: PlannedTrial) -> None:
        """Take note that a trial has ended."""
        self.in_hand.pop(planned.trial.hash, None)
        self.ended += self.costs[planned.trial.hash]

    def seconds(self, elapsed: float) -> float | None:
        """The seconds that are left after ``spent`` seconds; None while nothing is done."""
        done = self.ended + sum(self.in_hand.values())
        return elapsed * (self.total / done - 1) if done > 0 else None


def told_time(seconds: float) -> str:
    """A time as text.

    >>> told_time(42), told_time(600), told_time(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
