"""Estimates how long trials take, from similar trials, and how much time a run still needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


Pair = tuple[str, str]
"""A workload and an optimizer, whose trials cost alike."""


@dataclass
class _Training:
    """Trials that train together: when their first steps were seen, and how far they are."""

    trials: Sequence[PlannedTrial]
    since: float
    start: float
    """The share of the steps that were done when the first of them were seen."""
    share: float

    def pace(self, now: float, share: float) -> float | None:
        """The seconds of one whole trial, without what came before its first steps; None while too little is seen."""
        seen = share - self.start
        return (now - self.since) / seen / len(self.trials) if seen > _SEEN else None


_SEEN = 0.01
"""The smallest share of a trial that tells its pace."""


class TimeLeft:
    """Estimates the time that a run still needs.

    The cost of a trial is what trials of its workload and optimizer took in this run; else what they took in earlier
    runs; else what other optimizers took on the workload; else the mean of all. The estimate is the cost of what is
    left at the rate of the run since its first steps. The rate reflects how many trials train at once, and leaves out
    what comes before the first steps, such as imports.
    """

    def __init__(self, trials: Iterable[PlannedTrial], usual: Usual) -> None:
        self.usual = usual
        self.left: dict[str, Pair] = {one.trial.hash: (one.workload, one.optimizer) for one in trials}
        self.ended: list[tuple[Pair, float]] = []
        """For each trial that ended its pair, and the share of it that this run has seen."""
        self.in_hand: dict[str, _Training] = {}
        """By hash; trials that train together share an entry."""
        self.paces: dict[Pair, list[float]] = {}
        self.first: float | None = None

    def step(self, trials: Sequence[PlannedTrial], done: int, total: int, now: float) -> None:
        """Take note of the steps that trials which train together have done by ``now``, in seconds."""
        share = min(done / max(total, 1), 1.0)
        self._seen(now)
        training = self.in_hand.get(trials[0].trial.hash)
        if training is None or len(training.trials) != len(trials) or share < training.start:
            training = _Training(trials, now, share, share)
            self.in_hand |= {one.trial.hash: training for one in trials}
        training.share = share

    def end(self, planned: PlannedTrial, now: float) -> None:
        """Take note that a trial has ended."""
        self.end_of(planned.trial.hash, (planned.workload, planned.optimizer), now)

    def end_of(self, hash_: str, pair: Pair, now: float) -> None:
        """Take note that the trial with this hash has ended."""
        self._seen(now)
        training = self.in_hand.pop(hash_, None)
        self.left.pop(hash_, None)
        self.ended.append((pair, 1 - training.start if training else 1.0))
        if training and (pace := training.pace(now, 1.0)) is not None:
            self.paces.setdefault(pair, []).append(pace)

    def told(self, now: float) -> str:
        """Such as "about 3 min left", or "perhaps" where most of what is left is unlike all that was seen.

        Empty until a pace is known, and where only evaluations are left.
        """
        paces = {pair: mean(each) for pair, each in self.paces.items()}
        for one in self.in_hand.values():
            pair = (one.trials[0].workload, one.trials[0].optimizer)
            if pair not in paces and (pace := one.pace(now, one.share)) is not None:
                paces[pair] = pace
        costs = {pair: self._cost(pair, paces) for pair in {*self.left.values(), *(pair for pair, _ in self.ended)}}
        done = sum(costs[pair][0] * share for pair, share in self.ended)
        left = guessed = 0.0
        for hash_, pair in self.left.items():
            training = self.in_hand.get(hash_)
            cost, known = costs[pair]
            done += cost * (training.share - training.start) if training else 0.0
            rest = cost * (1 - training.share) if training else cost
            left += rest
            guessed += 0.0 if known else rest
        if self.first is None or done <= 0 or left <= 0 or now <= self.first:
            return ""
        how = "perhaps" if guessed > left / 2 else "about"
        return f"{how} {told_time((now - self.first) * left / done)} left"

    def _seen(self, now: float) -> None:
        self.first = now if self.first is None else self.first

    def _cost(self, pair: Pair, paces: Mapping[Pair, float]) -> tuple[float, bool]:
        """The cost of a trial, and whether trials like it were seen."""
        if pair in paces:
            return paces[pair], True
        ratios = [pace / self.usual[each] for each, pace in paces.items() if self.usual.get(each)]
        usual = self.usual.get(pair)
        if usual and (ratios or not paces):
            return usual * (mean(ratios) if ratios else 1.0), True
        alike = [pace for (workload, _), pace in paces.items() if workload == pair[0]]
        some = alike or list(paces.values())
        return (mean(some) if some else 1.0), False


def told_time(seconds: float) -> str:
    """A time as text.

    >>> told_time(0.3), told_time(42), told_time(600), told_time(9000)
    ('1 s', '42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
