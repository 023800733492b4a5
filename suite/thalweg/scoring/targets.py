"""The targets of a workload's ECDF: from the problem's starting level down to the workload's own target."""

from __future__ import annotations

import math

from thalweg.plan import Workload

EASIER = 3
"""The number of easier targets besides a workload's own target."""


def targets_of(workload: Workload) -> list[float]:
    """A workload's own target and easier ones, which follow from the benchmark alone; empty without a target.

    Let e be the error of the workload's own target and s the error of the starting level. The error of easier target k
    = 1, 2, 3 is e (s / e)^(k / 4): all four are evenly spaced between target and start on a log scale, and the start
    meets none. The error of a fraction (unit %) is 1 - a where higher is better; the error of another metric where
    lower is better is its value. If a target's error is not above zero, or a metric has no error, the values are evenly
    spaced. A workload without a starting level, or with one that meets the target, has its own target alone.
    """
    target, metric, start = workload.target, workload.target_metric, workload.start
    if target is None or metric is None:
        return []
    higher = metric.better == "higher"
    if start is None or not math.isfinite(start) or (start >= target.value if higher else start <= target.value):
        return [target.value]
    steps = [k / (EASIER + 1) for k in range(1, EASIER + 1)]
    best = {"higher": 1.0 if metric.unit == "%" else math.nan, "lower": 0.0}[metric.better]
    error, start_error = abs(best - target.value), abs(best - start)
    beyond = target.value >= best if higher else target.value <= best
    if math.isnan(best) or beyond:
        return [target.value, *(target.value + (start - target.value) * step for step in steps)]
    errors = [error * (start_error / error) ** step for step in steps]
    return [target.value, *(best - error if higher else error for error in errors)]
