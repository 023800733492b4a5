"""The outcome of each seed: one number for each trial and metric."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.scoring.measures import (
    MEASURES,
    SECONDS,
    STABILITY,
    STATE_BYTES,
    STEPS,
    check_metric,
    is_to_target,
    ranking_metric,
    values_by_seed,
)
from thalweg.scoring.observations import Observations

COLUMNS = ["workload", "metric", "optimizer", "seed", "finished", "value"]

Metrics = Mapping[str, list[Metric]]
"""The metrics that are compared, by workload."""


def compared_metrics(workloads: Mapping[str, Workload], name: str | None = None) -> dict[str, list[Metric]]:
    """The metrics to compare on each workload: by default its own metric, and the steps to its target if it has one.

    If ``name`` is given, workloads that lack this metric are left out.

    Raises:
        UserError: no workload has the metric.
    """
    if name is None:
        return {key: [one.metric, *([STEPS] if one.target else [])] for key, one in workloads.items()}
    if name == STABILITY.name:
        raise UserError(f"--metric: {name} is a share of trials, which cannot be compared seed by seed")
    check_metric(workloads, name, [one for one in MEASURES if one != STABILITY.name])
    found = {key: ranking_metric(one, name) for key, one in workloads.items()}
    return {key: [metric] for key, metric in found.items() if metric}


def outcomes(seen: Observations, workloads: Mapping[str, Workload], metrics: Metrics) -> pd.DataFrame:
    """A row for each trial and metric, with ``COLUMNS``.

    ``value`` is the number that the leaderboard averages: the metric on the test split at the step that validation
    selects, or without a test split on the training split at the end; or a cost, which is infinite where the target is
    never reached. ``finished`` is false for trials that diverged or failed: they have no value, and never reach the
    target. A comparison of times, memory or work leaves out trials whose steps were not timed, or whose memory or work
    was not recorded.
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
    known = pd.Series(True, index=found.index)
    never = np.inf if is_to_target(metric) else np.nan
    if metric.name == STATE_BYTES.name:
        known = trials["state_bytes"].notna() | ~found["finished"]
        values = trials["state_bytes"].to_numpy(dtype=float)
    else:
        curves = seen.curves[seen.curves["workload"] == workload.name]
        by_label = values_by_seed(workload, metric, curves)
        values = np.array([by_label.get(str(optimizer), {}).get(seed, never) for optimizer, seed in key], dtype=float)
        if metric.name == SECONDS.name:
            seconds = trials.groupby("optimizer")["step_seconds"].transform("median")
            known = seconds.notna()
            values = values * seconds.to_numpy(dtype=float)
    # a trial from before work was counted may have reached the target at a cost that nobody knows
    unknown = np.isnan(values) & found["finished"].to_numpy() & is_to_target(metric)
    found = found.assign(value=np.where(found["finished"] & ~np.isnan(values), values, never))
    kept: pd.DataFrame = found[known.to_numpy() & ~unknown]
    return kept
