"""The scale on which a workload's metrics are averaged: a declared log scale needs values that are not below zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.scoring.measures import read_of


def settled(workloads: Mapping[str, Workload], curves: pd.DataFrame, measure: str | None = None) -> dict[str, Workload]:
    """The workloads, with a linear scale for each metric that declares a log scale and has values below zero.

    A number below zero has no logarithm, and any replacement would make all such numbers equal. So the metric is
    averaged without logarithms, for all optimizers of the workload. All evaluations on the split that the measure reads
    decide. Zeros change no scale: see ``intervals.FLOOR``.

    Args:
        workloads: the workloads as declared.
        curves: the curves of all trials, with the columns workload, split, metric and value.
        measure: the measure that ranks, see ``measures.MEASURES``; None for each workload's own metric.
    """
    if curves.empty:
        return dict(workloads)
    below = curves[curves["value"] < 0]
    there = set(zip(below["workload"], below["metric"], below["split"], strict=True))
    if not there:
        return dict(workloads)
    return {
        name: _linear(
            workload, {metric for metric, split in read_of(workload, measure) if (name, metric, split) in there}
        )
        for name, workload in workloads.items()
    }


def changes(before: Mapping[str, Workload], after: Mapping[str, Workload]) -> list[str]:
    """A sentence for each metric whose scale ``settled`` has changed."""
    found = []
    for name, workload in after.items():
        for declared, metric in zip(before[name].metrics, workload.metrics, strict=True):
            if metric.scale != declared.scale:
                way = f'Metric("{metric.name}", "{metric.better}", "linear") in its problem says so beforehand'
                found.append(f"{name}: {metric.name} has values below zero, so its scale is linear, not log: {way}")
    return found


def _linear(workload: Workload, names: set[str]) -> Workload:
    def of(metric: Metric) -> Metric:
        return replace(metric, scale="linear") if metric.name in names else metric

    if not names:
        return workload
    metrics = tuple(map(of, workload.metrics))
    aim = workload.target_metric
    return replace(workload, metrics=metrics, metric=of(workload.metric), target_metric=of(aim) if aim else None)
