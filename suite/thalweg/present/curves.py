"""Mean learning curves: the trials of an optimizer as one line with a band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


def seed_curves(curves: pd.DataFrame, metric: str, split: str, log: bool) -> pd.DataFrame:
    """The curve of every seed with the columns of ``mean_curves``, and ``seed``; ``low`` and ``high`` are the value."""
    rows = curves[(curves["metric"] == metric) & (curves["split"] == split)]
    rows = rows[np.isfinite(rows["value"]) & ((rows["value"] > 0) | (not log))]
    axes = [axis for axis in AXES if axis != "step" and axis in curves]
    shown: pd.DataFrame = rows.assign(low=rows["value"], high=rows["value"], seeds=1)[
        ["optimizer", "step", *axes, "value", "low", "high", "seeds", "seed"]
    ].sort_values(["optimizer", "seed", "step"])
    return shown


def smoothed(means: pd.DataFrame, weight: float, log: bool) -> pd.DataFrame:
    """The curves with an exponential moving average of the values; bands stay as they are.

    ``s_t = sum_i weight^(t-i) v_i / sum_i weight^(t-i)`` over the evaluations i up to t, on logarithms with ``log``.
    A weight of 0 leaves the values.
    """
    if weight <= 0 or means.empty:
        return means
    keys = ["optimizer", *(["seed"] if "seed" in means else [])]
    values = np.log(means["value"]) if log else means["value"]
    averages = values.groupby([means[key] for key in keys]).transform(
        lambda line: line.ewm(alpha=1 - weight, adjust=True).mean()
    )
    found: pd.DataFrame = means.assign(value=np.exp(averages) if log else averages)
    return found


ZERO, DIVERGED, SELECTED = "exactly zero", "diverged", "selected by validation"
"""What a mark on a curve tells."""


def marks(
    curves: pd.DataFrame, trials: pd.DataFrame, workload: Workload, metric: str, split: str, log: bool
) -> pd.DataFrame:
    """The marks on the curves of a metric: optimizer, seed, step and the other axes, value, and ``what``.

    ``diverged`` marks the last finite value of a trial that diverged; ``selected by validation`` the evaluation with
    the best value of the workload's metric on the validation split, the earliest among equals; ``exactly zero``, with
    ``log``, the first evaluation at which a seed's value is zero. ``trials`` has the columns optimizer, seed, status.
    """
    rows = curves[(curves["metric"] == metric) & (curves["split"] == split)]
    rows = rows[np.isfinite(rows["value"])].sort_values("step")
    keys = ["optimizer", "seed"]
    bad = trials.loc[trials["status"] == "diverged", keys]
    drawn = rows[rows["value"] > 0] if log else rows
    found = [
        drawn.merge(bad, on=keys).groupby(keys, sort=False, as_index=False, observed=True).tail(1).assign(what=DIVERGED)
    ]
    valid = curves[(curves["metric"] == workload.metric.name) & (curves["split"] == "valid")]
    valid = valid[np.isfinite(valid["value"])]
    selects = workload.target_split == "valid" and (workload.known is None or workload.selects)
    if len(valid) and selects:
        best = valid.sort_values(
            [*keys, "value", "step"], ascending=[True, True, workload.metric.better == "lower", True]
        ).drop_duplicates(keys)
        found.append(drawn.merge(best[[*keys, "step"]], on=[*keys, "step"]).assign(what=SELECTED))
    if log:
        found.append(rows[rows["value"] == 0].drop_duplicates(keys).assign(what=ZERO))
    every: pd.DataFrame = pd.concat(found, ignore_index=True)
    return every


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


@dataclass(frozen=True)
class Sparklines:
    """The mean curves of a workload's ranking metric, as small lines in a table."""

    heading: str
    """Split and metric, and whether the values are logarithms."""
    lines: Mapping[str, list[float]]
    """The values by the optimizer's label; logarithms to base 10 where the metric has a log axis."""


def sparklines(curves: pd.DataFrame, workload: Workload) -> Sparklines:
    """Means over seeds for each optimizer, on the validation split if there is one, else on the training split."""
    metric = workload.metric
    splits = splits_of(curves, metric.name)
    if not splits:
        return Sparklines(f"{workload.split} {metric.name}", {})
    log = has_log_axis(curves, metric, splits[0])
    means = mean_curves(curves, metric.name, splits[0], log)[["optimizer", "step", "value"]]
    if log:
        means = means.assign(value=np.log10(means["value"].astype(float)))
        means = _with_feet(means, curves[(curves["metric"] == metric.name) & (curves["split"] == splits[0])])
    return Sparklines(
        f"{splits[0]} {metric.name}{', log scale' if log else ''}",
        {str(label): part["value"].tolist() for label, part in means.groupby("optimizer", observed=True)},
    )


def _with_feet(lines: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Sparklines on logarithms that run to the foot, a decade below all others, where every seed is exactly zero."""
    zero = (rows["value"] == 0).groupby([rows["optimizer"], rows["step"]], observed=True).all().reset_index()
    zero = zero[zero["value"]]
    if zero.empty:
        return lines
    foot = (lines["value"].min() if len(lines) else 0.0) - 1.0
    feet = zero[["optimizer", "step"]].assign(value=foot)
    both: pd.DataFrame = pd.concat([lines, feet], ignore_index=True).sort_values(["optimizer", "step"])
    return both
