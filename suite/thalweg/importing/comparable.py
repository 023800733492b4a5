"""Whether imported runs of a workload can be compared: units and budgets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from thalweg.errors import UserError
from thalweg.foreign.keys import HIGHER
from thalweg.importing.mapping import Curve


def check_units(name: str, curves: Sequence[Curve], notes: list[str]) -> None:
    """UserError where some runs of a workload have per cent and others shares of one; a note on unequal lengths."""
    for metric in sorted(HIGHER & {key.metric for curve in curves for key in curve.series}):
        # a run that diverged may end at a chance of less than one per cent
        most = [(curve, _largest(curve, metric)) for curve in curves if not _lost(curve)]
        shares = [curve for curve, value in most if value <= 1]
        percent = [curve for curve, value in most if value > 1.5]
        if shares and percent:
            raise UserError(
                f"{percent[0].run.source}: {metric} of {name} is in per cent in {len(percent)} runs and a share "
                f"of one in {len(shares)}, as in {shares[0].run.source}: give all in one unit"
            )
    ends: dict[str, int] = {}
    for curve in curves:
        ends[curve.optimizer] = max(ends.get(curve.optimizer, 0), curve.steps)
    for optimizer in ends:
        early = [curve.steps for curve in curves if curve.optimizer == optimizer and not _lost(curve)]
        if early and min(early) < max(early):
            number = sum(steps < max(early) for steps in early)
            notes.append(
                f"{name}: {number:,} of {len(early):,} runs of {optimizer} end before step {max(early):,}, one at "
                f"{min(early):,}, and count as done: crashed, still running, or stopped early?"
            )
    if len(set(ends.values())) > 1:
        told = ", ".join(f"{optimizer} {steps:,}" for optimizer, steps in ends.items())
        notes.append(f"{name}: budgets are not equal: the last steps are {told}")


def _lost(curve: Curve) -> bool:
    """Whether the run has a number that is not finite, or its source says that the training was lost."""
    if curve.run.status in ("diverged", "failed"):
        return True
    return any(not np.isfinite(one.numbers).all() for one in curve.series.values())


def _largest(curve: Curve, metric: str) -> float:
    """The largest value of a metric; nan where the run has none."""
    values = [one.numbers[np.isfinite(one.numbers)] for key, one in curve.series.items() if key.metric == metric]
    return max((float(one.max()) for one in values if len(one)), default=math.nan)
