"""Leaderboards: values with intervals, ranks with ties, and counts of trials that diverged or failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.scoring.intervals import FLOOR, t_interval
from thalweg.scoring.measures import (
    COSTS,
    SECONDS,
    STABILITY,
    STATE_BYTES,
    TO_TARGET,
    BySeed,
    check_metric,
    is_to_target,
    ranking_metric,
    to_target,
    values_by_seed,
)
from thalweg.scoring.observations import Observations
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

    Optimizers with more finished seeds come first. ``rank_low`` to ``rank_high`` are the ranks that the intervals leave
    open: an optimizer is certainly better only if the two intervals do not overlap. ``seconds_to_target`` is the number
    of steps times the seconds of a step on the machine ``seen.timed_on``; its interval reflects the steps alone. A
    metric with values below zero has a linear scale: see ``scales.settled``.

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
            rows = _rows(workload, which, trials, curves)
            parts.append(ranked(pd.DataFrame(rows, columns=COLUMNS), which))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _rows(workload: Workload, metric: Metric, trials: pd.DataFrame, curves: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each optimizer, without ranks."""
    steps = to_target(curves, workload)
    # the memory of the state is not in the curves
    values = {} if metric is STATE_BYTES else values_by_seed(workload, metric, curves)
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
        )
        for label, of in sorted(numbers.items(), key=lambda item: str(item[0]))
    ]


Columns = dict[str, np.ndarray[Any, Any]]
"""The columns of one optimizer's trials."""


def _row(
    workload: Workload, metric: Metric, label: str, trials: Columns, steps: BySeed, by_seed: BySeed
) -> dict[str, Any]:
    status = trials["status"]
    done = status == "done"
    seeds = trials["seed"][done].tolist()
    times = trials["step_seconds"].astype(float)
    times = times[~np.isnan(times)]
    step_seconds = float(np.median(times)) if len(times) else math.nan
    if is_to_target(metric):
        factor = step_seconds if metric is SECONDS else 1.0
        values = [factor * by_seed.get(seed, math.inf) for seed in seeds]
        # a mean over the seeds that reach the target would flatter an optimizer that rarely reaches it
        values = values if all(math.isfinite(value) for value in values) else []
    elif metric is STATE_BYTES:
        memory = trials["state_bytes"][done].astype(float)
        values = memory[~np.isnan(memory)].tolist()
    else:
        values = [by_seed[seed] for seed in seeds if seed in by_seed]
    # a target that is met at the start costs nothing, whose logarithm there is not
    floor = {**dict.fromkeys(TO_TARGET, 1.0), SECONDS.name: step_seconds}.get(metric.name, FLOOR)
    estimate = t_interval(values, log=metric.scale == "log", floor=floor)
    low, high = estimate.low, estimate.high
    if metric.unit == "%":
        low, high = max(low, 0.0), min(high, 1.0)
    if metric.name in COSTS:
        low = max(low, 0.0)
    reached = [steps[seed] for seed in dict.fromkeys(seeds) if seed in steps]
    all_reached = workload.target is not None and len(reached) == len(status)
    steps_to_target = t_interval(reached, log=True, floor=1.0).value if all_reached else math.nan
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


def ranked(table: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """The rows of one workload, best first, with ranks."""
    sign = -1.0 if metric.better == "higher" else 1.0
    # of stability those that did not finish are in the value
    lost = 0 if metric.name == STABILITY.name else table["diverged"] + table["failed"]
    share = (1 - lost / table["seeds"]).where(table["value"].notna(), -1.0).tolist()
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
