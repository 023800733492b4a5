"""Mean learning curves: the trials of an optimizer as one line with a band."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.scoring.intervals import t_interval

AXES = {
    "step": "steps",
    "epoch": "epochs",
    "work": "work, in gradients of one example",
    "gradient_evaluations": "gradient evaluations",
    "curvature_products": "curvature products",
    "factor_inversions": "factor inversions",
    "examples": "examples",
    "seconds": "seconds",
}
"""The columns of a curve that can be the horizontal axis, with their titles."""


def mean_curves(curves: pd.DataFrame, metric: str, split: str, log: bool) -> pd.DataFrame:
    """One row for each optimizer and evaluated step, sorted by both.

    ``value`` is the mean over the seeds that have a finite value at the step. With ``log`` it is the geometric mean
    over the seeds with a positive value. ``low`` and ``high`` are the smallest and the largest of these values, and
    ``seeds`` is their number. All seeds are evaluated at the same steps. The other axes are means over seeds, whose
    seconds differ; an axis that the curves lack is left out.
    """
    rows = curves[(curves["metric"] == metric) & (curves["split"] == split)]
    rows = rows[np.isfinite(rows["value"]) & ((rows["value"] > 0) | (not log))]
    groups = rows.groupby(["optimizer", "step"], sort=True)
    axes = [axis for axis in AXES if axis != "step" and axis in curves]
    columns = ["optimizer", "step", *axes, "value", "low", "high", "seeds"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    values = groups["value"]
    table = groups[axes].mean()
    table["value"] = values.agg(lambda part: t_interval(part.tolist(), log=log).value)
    table["low"], table["high"], table["seeds"] = values.min(), values.max(), values.count()
    shown: pd.DataFrame = table.reset_index()[columns]
    return shown


def has_log_axis(curves: pd.DataFrame, metric: Metric, split: str) -> bool:
    """Whether a metric's curves belong on a log axis: its scale is logarithmic, and no value is below zero."""
    if metric.scale != "log":
        return False
    mine = (curves["metric"] == metric.name) & (curves["split"] == split)
    return not bool((curves.loc[mine, "value"] < 0).any())


def splits_of(curves: pd.DataFrame, metric: str) -> list[str]:
    """The splits on which a metric has a curve, valid first; the test split has a single point and no curve."""
    there = set(curves.loc[curves["metric"] == metric, "split"].unique())
    return [split for split in ("valid", "train", "optimizer") if split in there]


def metrics_of(curves: pd.DataFrame, workload: Workload) -> list[Metric]:
    """The workload's metrics that have a curve, then the quantities that optimizers report (split ``optimizer``)."""
    named = {metric.name for metric in workload.metrics}
    there = set(curves["metric"].unique())
    own = sorted(there - named)
    return [metric for metric in workload.metrics if metric.name in there] + [Metric(name, "lower") for name in own]


def sparklines(curves: pd.DataFrame, workload: Workload) -> dict[str, list[float]]:
    """The mean curve of the ranking metric for each optimizer, on the validation split if there is one, else on train.

    Values are logarithms to base 10 where the metric has a log axis.
    """
    metric = workload.metric
    splits = splits_of(curves, metric.name)
    if not splits:
        return {}
    log = has_log_axis(curves, metric, splits[0])
    means = mean_curves(curves, metric.name, splits[0], log)
    return {
        str(label): [math.log10(value) if log else value for value in part["value"]]
        for label, part in means.groupby("optimizer")
    }
