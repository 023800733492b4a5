"""Leaderboards: a value with its interval, a rank with its ties, and what diverged or failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from thalweg.benchmark import Workload
from thalweg.contracts import Metric
from thalweg.errors import UserError, unknown
from thalweg.scoring.intervals import t_interval
from thalweg.scoring.observations import Observations, Wanted

STEPS = Metric("steps_to_target", "lower", "log")
TO_TARGET = {
    STEPS.name: (STEPS, "step"),
    "gradient_evaluations_to_target": (
        Metric("gradient_evaluations_to_target", "lower", "log"),
        "gradient_evaluations",
    ),
    # linear: first-order methods take none
    "curvature_products_to_target": (Metric("curvature_products_to_target", "lower"), "curvature_products"),
    "factor_inversions_to_target": (Metric("factor_inversions_to_target", "lower"), "factor_inversions"),
}
"""What it costs to reach the target: a metric, and the column of a curve that counts it."""
SECONDS = Metric("seconds_to_target", "lower", "log", unit="s")
"""Steps to the target times the seconds of a step, as timed on one machine by ``thalweg run --timed``."""
MEMORY = Metric("state_bytes", "lower", unit="bytes")
"""Memory of the optimizer's state at the end of training."""
COSTS = (*TO_TARGET, SECONDS.name, MEMORY.name)
"""Names of costs that can rank."""

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

    ``value`` is the mean over the seeds that finished, with a 95% t-interval from ``low`` to ``high`` (both on
    logarithms for metrics with a log scale): of the workload's metric on the test split at the step that validation
    selects, else on the training split at the end; or of one of ``COSTS``. ``reached`` counts the seeds that
    reached the target. Optimizers with fewer finished seeds (others diverged or failed) come after those with more.
    ``rank_low`` to ``rank_high`` are the ranks that the intervals leave open: an optimizer is better for certain only
    if the two intervals do not overlap. ``seconds_to_target`` are the steps times the seconds of a step on the machine
    ``seen.timed_on``; its interval is that of the steps.

    Raises UserError when no workload has the metric.
    """
    ranked = {name: ranking_metric(workload, metric) for name, workload in workloads.items()}
    if metric is not None and not any(ranked.values()):
        if metric in (*TO_TARGET, SECONDS.name):
            raise UserError(f"--metric: no workload of this benchmark has a target, which {metric} needs")
        known = {known.name for workload in workloads.values() for known in workload.metrics} | {*COSTS}
        raise UserError(f"--metric: {unknown('metric', metric, known)}")
    parts = []
    for name, workload in workloads.items():
        which = ranked[name]
        trials = seen.trials[seen.trials["workload"] == name]
        if which is not None and len(trials):
            curves = seen.curves[seen.curves["workload"] == name]
            rows = _rows(workload, which, trials, curves)
            parts.append(_ranked(pd.DataFrame(rows, columns=COLUMNS), which))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def wanted_for(workloads: Mapping[str, Workload], metric: str | None = None) -> Wanted:
    """What a leaderboard by that metric reads of the curves."""
    cost = TO_TARGET[metric][1] if metric in TO_TARGET else "step"
    metrics: set[str] = set()
    splits: set[str] = set()
    for workload in workloads.values():
        ranked = ranking_metric(workload, metric)
        metrics |= {ranked.name} if ranked else set()
        splits.add(workload.split)
        if workload.target is not None:
            metrics.add(workload.target.metric)
            splits.add(workload.target_split)
    columns = list(dict.fromkeys(["step", "split", "metric", "value", cost]))
    return Wanted(columns, {"metric": metrics, "split": splits})


def ranking_metric(workload: Workload, name: str | None) -> Metric | None:
    """The metric of that name, None where the workload has none: no such metric, or no target to count to."""
    if name in TO_TARGET:
        return TO_TARGET[name][0] if workload.target else None
    if name == SECONDS.name:
        return SECONDS if workload.target else None
    if name == MEMORY.name:
        return MEMORY
    choices = {metric.name: metric for metric in workload.metrics}
    return workload.metric if name is None else choices.get(name)


def _rows(workload: Workload, metric: Metric, trials: pd.DataFrame, curves: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each optimizer, without its ranks."""
    steps = _to_target(curves, workload, "step")
    if metric.name in TO_TARGET or metric is SECONDS:
        column = "step" if metric is SECONDS else TO_TARGET[metric.name][1]
        measured = steps if column == "step" else _to_target(curves, workload, column)
    elif metric is MEMORY:
        measured = {}
    else:
        last = curves[(curves["split"] == workload.split) & (curves["metric"] == metric.name)]
        groups = last.sort_values("step", kind="stable").groupby(["optimizer", "seed"], observed=True)
        measured = _by_optimizer(groups["value"].last())
    # columns as arrays: a table for each of hundreds of optimizers takes longer than what is done with it
    columns = {name: trials[name].to_numpy() for name in ("seed", "state_bytes", "step_seconds")}
    columns["status"] = trials["status"].to_numpy(dtype=object)
    numbers = trials.groupby("optimizer", observed=True).indices
    return [
        _row(
            workload,
            metric,
            str(label),
            {name: values[of] for name, values in columns.items()},
            steps.get(str(label), {}),
            measured.get(str(label), {}),
        )
        for label, of in sorted(numbers.items(), key=lambda item: str(item[0]))
    ]


BySeed = dict[int, float]

Columns = dict[str, np.ndarray[Any, Any]]
"""The columns of one optimizer's trials."""


def _by_optimizer(series: pd.Series) -> dict[str, BySeed]:
    """A series by optimizer and seed, sorted, as a number by seed for each optimizer."""
    labels = series.index.get_level_values(0).to_numpy(dtype=object)
    seeds, values = series.index.get_level_values(1).tolist(), series.tolist()
    starts = [*np.flatnonzero(labels[1:] != labels[:-1]) + 1] if len(labels) else []
    edges = zip([0, *starts], [*starts, len(labels)], strict=True) if len(labels) else ()
    return {str(labels[i]): dict(zip(seeds[i:j], values[i:j], strict=True)) for i, j in edges}


def _row(
    workload: Workload, metric: Metric, label: str, trials: Columns, steps: BySeed, measured: BySeed
) -> dict[str, Any]:
    status = trials["status"]
    done = status == "done"
    seeds = trials["seed"][done].tolist()
    times = trials["step_seconds"].astype(float)
    times = times[~np.isnan(times)]
    step_seconds = float(np.median(times)) if len(times) else math.nan
    if metric.name in TO_TARGET or metric is SECONDS:
        factor = step_seconds if metric is SECONDS else 1.0
        values = [factor * measured.get(seed, math.inf) for seed in seeds]
        # a mean over the seeds that got there would flatter whoever got there rarely
        values = values if all(math.isfinite(value) for value in values) else []
    elif metric is MEMORY:
        memory = trials["state_bytes"][done].astype(float)
        values = memory[~np.isnan(memory)].tolist()
    else:
        values = [measured[seed] for seed in seeds if seed in measured]
    estimate = t_interval(values, log=metric.scale == "log")
    low, high = estimate.low, estimate.high
    if metric.unit == "%":
        low, high = max(low, 0.0), min(high, 1.0)
    if metric.name in COSTS:
        low = max(low, 0.0)
    reached = [steps[seed] for seed in dict.fromkeys(seeds) if seed in steps]
    all_reached = workload.target is not None and len(reached) == len(status)
    steps_to_target = t_interval(reached, log=True).value if all_reached else math.nan
    return {
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


def to_target(curve: pd.DataFrame, workload: Workload, column: str = "step") -> float:
    """What one trial had spent at the first evaluated step where it reaches the target; infinity if it never does."""
    there = _reached(curve, workload)
    return float(there[column].min()) if len(there) else math.inf


def _to_target(curves: pd.DataFrame, workload: Workload, column: str) -> dict[str, BySeed]:
    """The same of every trial that reaches it."""
    return _by_optimizer(
        _reached(curves, workload).groupby(["optimizer", "seed"], observed=True)[column].min().astype(float)
    )


def _reached(curves: pd.DataFrame, workload: Workload) -> pd.DataFrame:
    """The rows of evaluations that reach the target."""
    target, metric = workload.target, workload.target_metric
    if target is None or metric is None:
        return curves.iloc[:0]
    values = curves["value"]
    there = values >= target.value if metric.better == "higher" else values <= target.value
    return curves[there & (curves["metric"] == target.metric) & (curves["split"] == workload.target_split)]


def _ranked(table: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    sign = -1.0 if metric.better == "higher" else 1.0
    finished = table["seeds"] - table["diverged"] - table["failed"]
    share = (finished / table["seeds"]).where(table["value"].notna(), -1.0).tolist()
    # worst possible costs, so that "better for certain" below is one comparison
    cost = (sign * table["value"]).fillna(math.inf).tolist()
    # one seed gives no interval, and then nothing is certain
    best = (
        (sign * table["low" if sign > 0 else "high"]).fillna(-math.inf).where(table["value"].notna(), math.inf).tolist()
    )
    worst = (sign * table["high" if sign > 0 else "low"]).fillna(math.inf).tolist()
    labels = table["optimizer"].tolist()
    order = sorted(range(len(table)), key=lambda i: (-share[i], cost[i], labels[i]))

    def better(i: int, j: int) -> bool:
        return bool(share[i] > share[j] or (share[i] == share[j] and worst[i] < best[j]))

    def ahead(i: int, j: int) -> bool:
        return bool((-share[i], cost[i]) < (-share[j], cost[j]))

    n = len(table)
    table["rank"] = [1 + sum(ahead(j, i) for j in range(n)) for i in range(n)]
    table["rank_low"] = [1 + sum(better(j, i) for j in range(n)) for i in range(n)]
    table["rank_high"] = [n - sum(better(i, j) for j in range(n)) for i in range(n)]
    return table.iloc[order]
