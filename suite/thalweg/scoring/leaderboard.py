"""Leaderboards: values with intervals, rank intervals, and counts of trials that diverged or failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.plan import Choice, Workload
from thalweg.scoring.intervals import FLOOR, t_interval
from thalweg.scoring.measures import (
    COSTS,
    SECONDS,
    STATE_BYTES,
    TO_TARGET,
    BySeed,
    check_metric,
    evaluation_intervals,
    is_to_target,
    ranking_metric,
    to_target,
    values_by_seed,
)
from thalweg.scoring.observations import Observations
from thalweg.scoring.ranks import Sample, certain, finest, rank_intervals
from thalweg.scoring.scales import settled

COLUMNS = [
    "workload",
    "metric",
    "optimizer",
    "rank",
    "rank_low",
    "rank_high",
    "value",
    "low",
    "high",
    "seeds",
    "reached",
    "diverged",
    "failed",
    "steps_to_target",
    "seconds_to_target",
]


def leaderboard(seen: Observations, workloads: Mapping[str, Workload], metric: str | None = None) -> pd.DataFrame:
    """One row per workload and optimizer, best first.

    ``value`` is the mean over the seeds that finished, with a 95% t-interval from ``low`` to ``high``. Metrics with a
    log scale are averaged on logarithms. The metric is the workload's own, on the test split at the step that
    validation selects, or without a test split on the training split at the end. ``metric`` may name another of
    ``measures.MEASURES``; stability has its own function. ``reached`` counts the seeds that reached the target.

    A cost to the target has a value only if every seed finished and reached the target. A seed is lost if it diverged
    or failed, and for such costs also if it never reached the target. Optimizers that lost a smaller share of their
    seeds come first, then those with better values. ``rank_low`` to ``rank_high`` are the ranks that the seeds leave
    open, for all optimizers of the workload at once (see ``ranks``). In a benchmark that tunes, the intervals of the
    workload's own metric include the choice of the setting (see ``thalweg.tuning.choice``).

    ``seconds_to_target`` is the number of steps times the seconds of a step on the machine ``seen.timed_on``; its
    interval reflects the steps alone. A metric with values below zero has a linear scale: see ``scales.settled``.

    Raises:
        UserError: no workload has the metric.
    """
    check_metric(workloads, metric)
    workloads = settled(workloads, seen.curves, metric)
    metrics = {name: ranking_metric(workload, metric) for name, workload in workloads.items()}
    parts = []
    for name, workload in workloads.items():
        which = metrics[name]
        trials = seen.trials[seen.trials["workload"] == name]
        if which is not None and len(trials):
            curves = seen.curves[seen.curves["workload"] == name]
            rows = _rows(workload, which, trials, curves, seen.choice)
            table = pd.DataFrame([row.shown for row in rows], columns=COLUMNS)
            parts.append(ranked(table, which, certain(_samples(rows, which)), [row.lost for row in rows]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


@dataclass(frozen=True)
class _Row:
    """One optimizer's row without its ranks, and the outcomes that decide the ranks."""

    shown: dict[str, Any]
    outcomes: np.ndarray[Any, Any]
    """The values of the seeds that have one."""
    lost: int
    floor: float
    """The smallest value on a log scale."""
    resolution: float
    """The cost of one evaluation interval, for a cost to the target; else 0."""
    added: float
    """What the choice of a setting adds to the variance of the mean."""


def _rows(
    workload: Workload,
    metric: Metric,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    choice: Mapping[tuple[str, str], Choice],
) -> list[_Row]:
    """A row for each optimizer, without ranks."""
    steps = to_target(curves, workload)
    # the memory of the state is not in the curves
    values = {} if metric is STATE_BYTES else values_by_seed(workload, metric, curves)
    intervals = evaluation_intervals(workload, metric, curves) if is_to_target(metric) else {}
    # columns as arrays, because tables for hundreds of optimizers take longer to make than to use
    columns = {name: trials[name].to_numpy() for name in ("seed", "state_bytes", "step_seconds")}
    columns["status"] = trials["status"].to_numpy(dtype=object)
    numbers = trials.groupby("optimizer", observed=True).indices
    return [
        _row(
            workload,
            metric,
            str(label),
            {name: column[of] for name, column in columns.items()},
            steps.get(str(label), {}),
            values.get(str(label), {}),
            intervals.get(str(label), 0.0),
            _added(choice.get((workload.name, str(label)), Choice()), workload, metric),
        )
        for label, of in sorted(numbers.items(), key=lambda item: str(item[0]))
    ]


def _added(choice: Choice, workload: Workload, metric: Metric) -> float:
    """What the choice of a setting adds to the variance of a mean. Tuning knows it for the workload's own metric."""
    if metric.name != workload.metric.name:
        return 0.0
    return choice.log if metric.scale == "log" else choice.linear


Columns = dict[str, np.ndarray[Any, Any]]
"""The columns of one optimizer's trials."""


def _row(
    workload: Workload,
    metric: Metric,
    label: str,
    trials: Columns,
    steps: BySeed,
    by_seed: BySeed,
    interval: float,
    added: float,
) -> _Row:
    status = trials["status"]
    done = status == "done"
    seeds = trials["seed"][done].tolist()
    times = trials["step_seconds"].astype(float)
    times = times[~np.isnan(times)]
    step_seconds = float(np.median(times)) if len(times) else math.nan
    factor = step_seconds if metric is SECONDS else 1.0
    if metric is STATE_BYTES:
        memory = trials["state_bytes"][done].astype(float)
        values = memory[~np.isnan(memory)].tolist()
    else:
        values = [factor * by_seed[seed] for seed in seeds if seed in by_seed]
    lost = len(status) - (len(values) if is_to_target(metric) else len(seeds))
    # a target that is met at the start costs nothing, whose logarithm there is not
    floor = {**dict.fromkeys(TO_TARGET, 1.0), SECONDS.name: step_seconds}.get(metric.name, FLOOR)
    # a mean over the seeds that reach the target would flatter an optimizer that rarely reaches it
    averaged = [] if is_to_target(metric) and lost else values
    estimate = t_interval(averaged, log=metric.scale == "log", floor=floor, added=added)
    low, high = estimate.low, estimate.high
    if metric.unit == "%":
        low, high = max(low, 0.0), min(high, 1.0)
    if metric.name in COSTS:
        low = max(low, 0.0)
    reached = [steps[seed] for seed in dict.fromkeys(seeds) if seed in steps]
    all_reached = workload.target is not None and len(reached) == len(status)
    steps_to_target = t_interval(reached, log=True, floor=1.0).value if all_reached else math.nan
    shown = {
        "workload": workload.name,
        "metric": metric.name,
        "optimizer": label,
        "value": estimate.value,
        "low": low,
        "high": high,
        "seeds": len(status),
        "reached": len(reached),
        "diverged": int((status == "diverged").sum()),
        "failed": int((status == "failed").sum()),
        "steps_to_target": steps_to_target,
        "seconds_to_target": steps_to_target * step_seconds,
    }
    return _Row(shown, np.asarray(values, dtype=float), lost, floor, factor * interval, added)


def _samples(rows: Sequence[_Row], metric: Metric) -> list[Sample]:
    """The outcomes on the scale of the mean, of which smaller is better, with the resolution of each."""
    sign, log = (-1.0 if metric.better == "higher" else 1.0), metric.scale == "log"
    scaled = [np.log(np.maximum(row.outcomes, row.floor)) if log else sign * row.outcomes for row in rows]
    if is_to_target(metric):
        # the interval before the evaluation that reached the target, at the mean cost
        intervals = [
            math.log1p(row.resolution / math.exp(values.mean())) if log and len(values) else row.resolution
            for row, values in zip(rows, scaled, strict=True)
        ]
    else:
        # memory does not depend on the seed: different numbers are different
        step = 0.0 if metric is STATE_BYTES else finest(np.concatenate(scaled))
        intervals = [step] * len(rows)
    return [
        Sample(values, row.lost, step, row.added) for row, values, step in zip(rows, scaled, intervals, strict=True)
    ]


def ranked(
    table: pd.DataFrame, metric: Metric, better: np.ndarray[Any, Any], lost: Sequence[int] | None = None
) -> pd.DataFrame:
    """The rows of one workload, best first, with ranks.

    Args:
        table: the rows.
        metric: which values are better.
        better: (i, j), whether the optimizer of row i is certainly better than the one of row j.
        lost: the seeds that each optimizer lost, where they are not in the value.
    """
    sign = -1.0 if metric.better == "higher" else 1.0
    gone = np.zeros(len(table)) if lost is None else np.asarray(lost, dtype=float)
    unknown = table["value"].isna().to_numpy() & (gone == 0)
    share = np.where(unknown, 2.0, gone / table["seeds"].to_numpy(dtype=float))
    cost = (sign * table["value"]).fillna(math.inf).to_numpy()
    order = np.lexsort((table["optimizer"].to_numpy(dtype=str), cost, share))
    keys = list(zip(share[order].tolist(), cost[order].tolist(), strict=True))
    first: dict[tuple[float, float], int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place + 1)
    table["rank_low"], table["rank_high"] = rank_intervals(better)
    table = table.iloc[order].copy()
    table["rank"] = [first[key] for key in keys]
    return table
