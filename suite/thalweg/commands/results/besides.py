"""What an export says of a benchmark's trials and metrics besides their curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.plan import Choice
from thalweg.present.view import View


def marks_of(view: View) -> Mapping[str, dict[str, Any]]:
    """Further columns by a trial's hash: whether tuning trained it, or what the choice of its setting adds.

    Empty for a benchmark that does not tune, or whose plan cannot be made.
    """
    if view.plan is None or not view.plan.tuning:
        return {}
    marks: dict[str, dict[str, Any]] = {hash_: {"tuning": True} for hash_ in view.everything.column("hash")}
    ranked = view.seen.trials
    for hash_, workload, optimizer in ranked[["hash", "workload", "optimizer"]].itertuples(index=False):
        choice = view.plan.choice.get((workload, optimizer), Choice())
        marks[hash_] = {"choice_variance": choice.linear, "choice_variance_log": choice.log}
    return marks


def metrics_of(view: View) -> Mapping[tuple[str, str], tuple[str, bool, float]]:
    """By workload and metric the better direction, whether the metric ranks, and its value to reach."""
    found = {}
    for name, workload in view.workloads.items():
        for metric in workload.metrics:
            ranks = metric.name == workload.metric.name
            target, aim = workload.target, workload.target_metric
            # by name: the metric of losses below zero has another scale here
            aims = ranks and target is not None and aim is not None and aim.name == metric.name
            value = target.value if aims and target is not None else float("nan")
            found[name, metric.name] = (metric.better, ranks, value)
    return found
