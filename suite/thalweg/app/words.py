"""Sentences and cells for people."""

from __future__ import annotations

import math
from typing import Any

from thalweg.benchmark import Workload
from thalweg.commands.output import number
from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.store.documents import TrialDocument


def ranking(workload: Workload) -> str:
    """Which metric ranks, and where it is read."""
    if workload.split == "test":
        where = (
            "on the test split, at the step that validation selects"
            if workload.target_split == "valid"
            else "on the test split, at the end of training"
        )
    else:
        where = "on the training split, at the end of training"
    return f"{workload.metric.name} {where}; {workload.metric.better} is better"


def aim(workload: Workload) -> str:
    """The target in words; empty where there is none."""
    target = workload.target
    if target is None or workload.target_metric is None:
        return ""
    split = {"valid": "validation", "train": "training"}[workload.target_split]
    relation = "at least" if workload.target_metric.better == "higher" else "at most"
    return f"target: {split} {target.metric} of {relation} {target_value(target, workload.target_metric)}"


def target_value(target: Target, metric: Metric) -> str:
    """The target's value with its unit."""
    return f"{100 * target.value:g}%" if metric.unit == "%" else f"{target.value:g}"


def interval(low: float, high: float, unit: str) -> str:
    """``"95.1% to 97.3%"``; a dash for a single seed."""
    return "–" if math.isnan(low) else f"{number(low, unit)} to {number(high, unit)}"


def ranks(low: int, high: int) -> str:
    """``"2–4"`` where the intervals leave open which."""
    return f"{low}" if low == high else f"{low}–{high}"


def count(n: int, one: str, many: str = "") -> str:
    """``"1 trial"``, ``"3 trials"``."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def cell(value: Any) -> str:
    """A setting or a fact as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return "–" if value is None else str(value)


def title(document: TrialDocument, label: str) -> str:
    """A trial for people, under the label that the app gives its optimizer."""
    return title_of(document.workload, label, document.trial.seed)


def title_of(workload: str, label: str, seed: int) -> str:
    """The same, of a trial whose document need not be read."""
    return f"{workload} · {label} · seed {seed}"
