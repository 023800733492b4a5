"""The measures that can rank a leaderboard: metrics at one step or over training, and costs to reach the target."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.errors import UserError, unknown
from thalweg.plan import Workload
from thalweg.scoring.intervals import FLOOR
from thalweg.scoring.observations import Wanted

STEPS = Metric("steps_to_target", "lower", "log")
TO_TARGET = {
    STEPS.name: (STEPS, "step"),
    "gradient_evaluations_to_target": (
        Metric("gradient_evaluations_to_target", "lower", "log"),
        "gradient_evaluations",
    ),
    "work_to_target": (Metric("work_to_target", "lower", "log"), "work"),
    # linear: first-order methods take none
    "curvature_products_to_target": (Metric("curvature_products_to_target", "lower"), "curvature_products"),
    "factor_inversions_to_target": (Metric("factor_inversions_to_target", "lower"), "factor_inversions"),
}
"""The costs to reach the target: for each the metric, and the column of a curve that counts it."""
SECONDS = Metric("seconds_to_target", "lower", "log", unit="s")
"""The steps to the target times the seconds of a step, which ``thalweg run --timed`` measures on one machine."""
STATE_BYTES = Metric("state_bytes", "lower", unit="bytes")
"""Memory of the optimizer's state at the end of training."""
COSTS = (*TO_TARGET, SECONDS.name, STATE_BYTES.name)
"""Names of costs that can rank."""

FINAL, TRAINING_LOSS, AREA = "final_validation", "training_loss", "area_under_curve"
STABILITY = Metric("stability", "higher", unit="%")
"""The share of settings and seeds that reach the target."""
MEASURES = (FINAL, TRAINING_LOSS, AREA, STABILITY.name, *COSTS)
"""Names of the measures that can rank, besides a workload's own metrics."""

BySeed = dict[int, float]


def ranking_metric(workload: Workload, name: str | None) -> Metric | None:
    """The metric of a name, or for None the workload's own metric. None where the workload lacks it or its target."""
    choices = {metric.name: metric for metric in workload.metrics}
    if name is None or name in choices:
        return workload.metric if name is None else choices[name]
    if name == STATE_BYTES.name:
        return STATE_BYTES if workload.known is None else None
    if name == TRAINING_LOSS:
        return replace(choices["loss"], name=name) if "loss" in choices else None
    if name == AREA:
        return replace(workload.metric, name=name)
    if name == FINAL:
        return replace(workload.metric, name=name) if workload.target_split == "valid" else None
    if workload.target is None or (name == SECONDS.name and workload.known is not None):
        return None
    if name in TO_TARGET:
        told = workload.known is None or TO_TARGET[name][1] in workload.known
        return TO_TARGET[name][0] if told else None
    return {SECONDS.name: SECONDS, STABILITY.name: STABILITY}.get(name)


def check_metric(workloads: Mapping[str, Workload], name: str | None, among: Collection[str] = MEASURES) -> None:
    """Raise UserError where no workload has the named metric."""
    if name is None or any(ranking_metric(workload, name) for workload in workloads.values()):
        return
    if name == FINAL:
        raise UserError(f"--metric: no workload asked for has a validation split, which {name} needs")
    if name in COSTS and all(workload.known is not None for workload in workloads.values()):
        raise UserError(f"--metric {name}: these runs were imported, and their source does not tell it")
    if name in (*TO_TARGET, SECONDS.name, STABILITY.name):
        raise UserError(f"--metric: no workload asked for has a target, which {name} needs")
    known = {metric.name for workload in workloads.values() for metric in workload.metrics} | {*among}
    raise UserError(f"--metric: {unknown('metric', name, known)}")


def where_read(workload: Workload, metric: Metric) -> str:
    """The split and the moment at which a metric is read; empty for costs, whose names say it."""
    selects = workload.target_split == "valid" and (workload.known is None or workload.selects)
    selected = "at the step that validation selects" if selects else "at the end of training"
    own = workload.metric.name
    logs = ", on logarithms" if metric.scale == "log" else ""
    return {
        FINAL: f"{own}, validation, at the end of training",
        TRAINING_LOSS: "training, at the end",
        AREA: f"{own}, {_SPLITS[workload.target_split]}, mean over training{logs}",
        STABILITY.name: "share of settings and seeds that reach the target",
        **dict.fromkeys(COSTS, ""),
    }.get(metric.name, f"test, {selected}" if workload.split == "test" else f"{_SPLITS[workload.split]}, at the end")


_SPLITS = {"valid": "validation", "train": "training", "test": "test"}


def wanted_for(workloads: Mapping[str, Workload], metric: str | None = None) -> Wanted:
    """The part of the curves that a leaderboard by a metric reads."""
    columns = ["step", "split", "metric", "value", TO_TARGET[metric][1] if metric in TO_TARGET else "step"]
    metrics: set[str] = set()
    splits: set[str] = set()
    for workload in workloads.values():
        for name, split in read_of(workload, metric):
            metrics.add(name)
            splits.add(split)
        if workload.target is not None:
            metrics.add(workload.target.metric)
            splits.add(workload.target_split)
        if metric == AREA:
            columns.append(workload.axis)
    return Wanted(list(dict.fromkeys(columns)), {"metric": metrics, "split": splits})


def read_of(workload: Workload, name: str | None) -> list[tuple[str, str]]:
    """The metric and the split that a measure reads, besides those of the target."""
    ranked = ranking_metric(workload, name)
    if ranked is None:
        return []
    if ranked.name == TRAINING_LOSS:
        return [("loss", "train")]
    if ranked.name in (FINAL, AREA):
        return [(workload.metric.name, workload.target_split)]
    if ranked.name in (*COSTS, STABILITY.name):
        return []
    chosen_by = [(ranked.name, "valid")] if workload.selects and workload.split == "test" else []
    return [(ranked.name, workload.split), *chosen_by]


def tells_cost(workload: Workload) -> bool:
    """Whether the curves of a workload tell what they cost, which a profile over workloads needs."""
    return workload.known is None or bool(workload.known & {"examples", "work"})


def is_to_target(metric: Metric) -> bool:
    """Whether a metric is a cost to reach the target."""
    return metric.name in TO_TARGET or metric.name == SECONDS.name


def values_by_seed(workload: Workload, metric: Metric, curves: pd.DataFrame) -> dict[str, BySeed]:
    """The value of each trial that has one, by optimizer and seed, from the workload's ``curves``.

    For ``seconds_to_target`` the values are steps. ``state_bytes`` is in no curve and has no values.
    ``area_under_curve`` is the mean of the curve over the spent budget, by the trapezoid rule; for a metric with a log
    scale it is the mean of the logarithm.
    """
    if is_to_target(metric):
        return to_target(curves, workload, TO_TARGET[metric.name][1] if metric.name in TO_TARGET else "step")
    (name, split), *_ = read_of(workload, metric.name) or [("", "")]
    rows = curves[(curves["metric"] == name) & (curves["split"] == split)].sort_values("step", kind="stable")
    if workload.selects and split == "test":
        rows = _selected(rows, curves[(curves["metric"] == name) & (curves["split"] == "valid")], metric)
    if metric.name == AREA:
        return by_optimizer(_areas(rows, workload.axis, metric.scale == "log"))
    # the last row also where that is nan
    last = rows.drop_duplicates(["optimizer", "seed"], keep="last").sort_values(["optimizer", "seed"])
    return by_optimizer(last.set_index(["optimizer", "seed"])["value"])


def _selected(rows: pd.DataFrame, valid: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Of each trial the rows up to the step at which its validation metric is best for the first time."""
    keys = ["optimizer", "seed"]
    finite = valid[np.isfinite(valid["value"])].sort_values("step", kind="stable")
    groups = finite.groupby(keys, observed=True)["value"]
    best = groups.transform("max" if metric.better == "higher" else "min")
    steps = finite[finite["value"] == best].groupby(keys, observed=True)["step"].min().rename("chosen").reset_index()
    merged = rows.merge(steps, on=keys, how="left")
    # a source that reads the test split once has the step in its own way
    alone = merged.groupby(keys, observed=True)["step"].transform("size") == 1
    kept = alone | merged["chosen"].isna() | (merged["step"] <= merged["chosen"])
    return merged[kept].drop(columns="chosen")


def _areas(rows: pd.DataFrame, axis: str, log: bool) -> pd.Series:
    """The mean of each trial's curve over the axis; of a single evaluation, the value.

    The mean is nan if a value of the curve is not finite.
    """
    keys = ["optimizer", "seed"]
    value = np.log(rows["value"].clip(lower=FLOOR)) if log else rows["value"]
    value = value.where(np.isfinite(rows["value"]))
    groups: Any = rows.assign(value=value)[[*keys, axis, "value"]].groupby(keys, observed=True)
    width = groups[axis].diff()
    # the mean of both ends times the width; the first row of a trial has none
    pieces = rows[keys].assign(area=width * (value + groups["value"].shift()) / 2, width=width)
    sums = pieces.groupby(keys, observed=True)[["area", "width"]].sum()
    means = (sums["area"] / sums["width"]).where(sums["width"] > 0, groups["value"].last())
    means = means.where(groups["value"].count() == groups["value"].size())
    return means.transform(np.exp) if log else means


def to_target(curves: pd.DataFrame, workload: Workload, column: str = "step") -> dict[str, BySeed]:
    """The cost of each trial that reaches the target, at the first evaluation that reaches it."""
    target, metric = workload.target, workload.target_metric
    if target is None or metric is None:
        return {}
    values = curves["value"]
    there = values >= target.value if metric.better == "higher" else values <= target.value
    rows = curves[there & (curves["metric"] == target.metric) & (curves["split"] == workload.target_split)]
    return by_optimizer(rows.groupby(["optimizer", "seed"], observed=True)[column].min().astype(float))


def evaluation_intervals(workload: Workload, metric: Metric, curves: pd.DataFrame) -> dict[str, float]:
    """The median cost between two evaluations of each optimizer, in the unit of a cost to reach the target.

    One trial of each optimizer tells it. For ``seconds_to_target`` the unit is steps.
    """
    column = TO_TARGET[metric.name][1] if metric.name in TO_TARGET else "step"
    target = workload.target
    if target is None or curves.empty:
        return {}
    # one trial of each first, since comparing texts takes longer
    rows = curves[curves["seed"] == curves.groupby("optimizer", observed=True)["seed"].transform("min")]
    rows = rows[(rows["metric"] == target.metric) & (rows["split"] == workload.target_split)]
    rows = rows.sort_values(["optimizer", column], kind="stable")
    gaps = rows.groupby("optimizer", observed=True)[column].diff().dropna()
    medians = gaps.groupby(rows["optimizer"], observed=True).median()
    return {str(label): float(median) for label, median in medians.items()}


def by_optimizer(series: pd.Series) -> dict[str, BySeed]:
    """A sorted series by optimizer and seed, as a dictionary of numbers by seed for each optimizer."""
    labels = series.index.get_level_values(0).to_numpy(dtype=object)
    seeds, values = series.index.get_level_values(1).tolist(), series.tolist()
    starts = [*np.flatnonzero(labels[1:] != labels[:-1]) + 1] if len(labels) else []
    edges = zip([0, *starts], [*starts, len(labels)], strict=True) if len(labels) else ()
    return {str(labels[i]): dict(zip(seeds[i:j], values[i:j], strict=True)) for i, j in edges}
