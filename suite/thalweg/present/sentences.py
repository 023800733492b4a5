"""Sentences and cells for people."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from thalweg.benchmark import Workload
from thalweg.console import number
from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.scoring.critical import CriticalDifference
from thalweg.shown import markdown
from thalweg.store.documents import TrialDocument


def plain(text: str) -> str:
    """A text of results as it is, on pages, which read Markdown: without links, pictures, colours or formulas in it."""
    return markdown(text).replace("$", "\\$")


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


def capital(sentence: str) -> str:
    """With a capital letter first, the rest as it is."""
    return sentence[:1].upper() + sentence[1:]


def interquartile_means(means: pd.DataFrame) -> str:
    """``"adam 0.412 (0.391 to 0.433), sgd ..."``; see ``thalweg.scoring.pooled.Pooled.means``."""
    return ", ".join(
        f"{row['optimizer']} {row['iqm']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        for row in means.to_dict("records")
    )


def told(critical: CriticalDifference) -> str:
    """What a critical-difference diagram says."""
    groups = "; ".join(", ".join(group) for group in critical.groups) or "none"
    return (
        f"Mean ranks over {critical.workloads} workloads that differ by less than {critical.difference:.2f} are not "
        f"told apart (Nemenyi, 5%; Friedman's p {critical.p:.2g}): {groups}. Ranks depend on who else is there."
    )


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
