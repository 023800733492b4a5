"""What became of each seed: one number for each trial and metric."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from thalweg.benchmark import Workload
from thalweg.contracts import Metric
from thalweg.errors import UserError, unknown
from thalweg.scoring.leaderboard import COSTS, MEMORY, SECONDS, STEPS, TO_TARGET, ranking_metric, to_target
from thalweg.scoring.observations import Observations

COLUMNS = ["workload", "metric", "optimizer", "seed", "finished", "value"]

Metrics = Mapping[str, list[Metric]]
"""By workload what is compared on it."""


def compared_metrics(workloads: Mapping[str, Workload], name: str | None = None) -> dict[str, list[Metric]]:
    """By workload its metric and, where it has a target, the steps to it; or the metric of that name where it has one.

    Raises UserError when no workload has it.
    """
    if name is None:
        return {key: [one.metric, *([STEPS] if one.target else [])] for key, one in workloads.items()}
    found = {key: ranking_metric(one, name) for key, one in workloads.items()}
    if not any(found.values()):
        if name in (*TO_TARGET, SECONDS.name):
            raise UserError(f"--metric: no workload of this benchmark has a target, which {name} needs")
        known = {metric.name for one in workloads.values() for metric in one.metrics} | {*COSTS}
        raise UserError(f"--metric: {unknown('metric', name, known)}")
    return {key: [metric] for key, metric in found.items() if metric}


def is_to_target(metric: Metric) -> bool:
    """Whether it is what reaching the target costs."""
    return metric.name in TO_TARGET or metric.name == SECONDS.name


def outcomes(seen: Observations, workloads: Mapping[str, Workload], metrics: Metrics) -> pd.DataFrame:
    """A row a trial and metric, with ``COLUMNS``.

    ``value`` is what the leaderboard averages: the metric on the test split at the step that validation selects, else
    on the training split at the end; or a cost, which is infinite where the target is never reached. ``finished`` is
    false for trials that diverged or failed: they have no value, and never reach the target. Trials whose steps were
    not timed, or whose memory was not recorded, are left out where that is asked for.
    """
    parts = [
        _values(workloads[workload], metric, seen).assign(workload=workload, metric=metric.name)
        for workload, chosen in metrics.items()
        for metric in chosen
    ]
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _values(workload: Workload, metric: Metric, seen: Observations) -> pd.DataFrame:
    trials = seen.trials[seen.trials["workload"] == workload.name]
    found = trials[["optimizer", "seed"]].assign(finished=trials["status"] == "done")
    key = pd.MultiIndex.from_frame(found[["optimizer", "seed"]])
    measured = pd.Series(True, index=found.index)
    if metric.name == MEMORY.name:
        measured = trials["state_bytes"].notna() | ~found["finished"]
        values = trials["state_bytes"].to_numpy(dtype=float)
    elif is_to_target(metric):
        column = TO_TARGET[metric.name][1] if metric.name in TO_TARGET else "step"
        mine = seen.curves[seen.curves["workload"] == workload.name]
        spent = {
            (str(optimizer), seed): to_target(curve, workload, column)
            for (optimizer, seed), curve in mine.groupby(["optimizer", "seed"], observed=True)
        }
        values = np.array([spent.get(pair, np.inf) for pair in key])
        if metric.name == SECONDS.name:
            seconds = trials.groupby("optimizer")["step_seconds"].transform("median")
            measured = seconds.notna()
            values = values * seconds.to_numpy(dtype=float)
    else:
        last = seen.curves[
            (seen.curves["workload"] == workload.name)
            & (seen.curves["split"] == workload.split)
            & (seen.curves["metric"] == metric.name)
        ].sort_values("step", kind="stable")
        labels = zip(last["optimizer"].astype(str), last["seed"], strict=True)
        final = dict(zip(labels, last["value"], strict=True))  # the last one counts
        values = np.array([final.get(pair, np.nan) for pair in key], dtype=float)
    never = np.inf if is_to_target(metric) else np.nan
    return found.assign(value=np.where(found["finished"] & ~np.isnan(values), values, never))[measured]
