"""Two trials side by side: their final values, and their curves over each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.present.curves import AXES, has_log_axis, mean_curves, metrics_of, splits_of
from thalweg.present.numbers import DASH, number
from thalweg.present.sentences import not_known, title_of
from thalweg.present.table import Column, Table
from thalweg.store.documents import TrialDocument

SIDES = ("baseline", "candidate")


class Member(NamedTuple):
    """One of two trials that are compared."""

    document: TrialDocument
    label: str
    """The label of its optimizer."""
    workload: Workload
    curves: pd.DataFrame
    """The rows of its curve."""

    @property
    def title(self) -> str:
        """Workload, optimizer and seed."""
        return title_of(self.document.workload, self.label, self.document.trial.seed)


def common_metrics(one: Member, other: Member) -> dict[str, list[str]]:
    """The splits on which both trials have a curve of a metric, by the metric's name."""
    there = {metric.name: metric for metric in metrics_of(other.curves, other.workload)}
    found = {}
    for metric in metrics_of(one.curves, one.workload):
        theirs = there.get(metric.name)
        if theirs is not None and (metric.unit, metric.better) == (theirs.unit, theirs.better):
            splits = splits_of(other.curves, metric.name)
            found[metric.name] = [split for split in splits_of(one.curves, metric.name) if split in splits]
    return {name: splits for name, splits in found.items() if splits}


def overlaid(one: Member, other: Member, metric: Metric, split: str) -> tuple[pd.DataFrame, bool, dict[str, str]]:
    """Both curves as rows of ``curve_chart``, whether they belong on a log axis, and the optimizer of each label."""
    members = dict(zip(SIDES, (one, other), strict=True))
    log = all(has_log_axis(member.curves, metric, split) for member in members.values())
    labels = {side: f"{side}: {member.label}, seed {member.document.trial.seed}" for side, member in members.items()}
    parts = [
        mean_curves(member.curves.assign(optimizer=labels[side]), metric.name, split, log)
        for side, member in members.items()
    ]
    means = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return means, log, {labels[side]: member.label for side, member in members.items()}


def common_axes(means: pd.DataFrame) -> dict[str, str]:
    """The axes that every curve tells and some curve spent something of, by their titles; none without two curves."""
    groups = means.groupby("optimizer", observed=True)
    if len(groups) < len(SIDES):
        return {}
    there = [axis for axis in AXES if axis in means and (groups[axis].count() > 0).all() and means[axis].max() > 0]
    return {AXES[axis]: axis for axis in there}


def pointlike(means: pd.DataFrame) -> list[str]:
    """A sentence for each curve of a single point, which has no line."""
    sizes = means.groupby("optimizer", observed=True)["step"].agg(["size", "first"])
    return [
        f"{label} has one finite value, at step {row['first']:.0f}, and no line."
        for label, row in sizes.iterrows()
        if row["size"] == 1
    ]


def final_values(one: Member, other: Member) -> Table:
    """The last values of both trials, by split and metric, and the counts of what they spent."""
    units = {metric.name: metric.unit for member in (one, other) for metric in member.workload.metrics}
    rows = []
    finals = [member.document.summary.get("final", {}) for member in (one, other)]
    read = dict.fromkeys((split, metric) for final in finals for split, values in final.items() for metric in values)
    for split, metric in read:
        values = [final.get(split, {}).get(metric) for final in finals]
        rows.append({"what": f"{split} {metric}", **_sides(values, units.get(metric, ""))})
    for key, label in _COUNTS.items():
        values = [member.document.summary.get(key) for member in (one, other)]
        if any(value is not None for value in values):
            rows.append({"what": label, **{side: _whole(value) for side, value in zip(SIDES, values, strict=True)}})
    columns = [Column("what", "value", lambda row: row["what"], kind="text", pinned=True)]
    columns += [Column(side, side, lambda row, side=side: row[side], kind="text") for side in SIDES]  # type: ignore[misc]
    return Table(columns, rows)


_COUNTS = {"selected_step": "selected step", "step": "steps", "parameters": "parameters"}


def _sides(values: list[float | None], unit: str) -> dict[str, str]:
    return {side: number(value, unit) for side, value in zip(SIDES, values, strict=True)}


def _whole(value: float | None) -> str:
    return DASH if value is None or not math.isfinite(value) else f"{value:,.0f}"


def cautions(one: Member, other: Member) -> list[str]:
    """Why the values of both trials may not be compared, one sentence each."""
    found = []
    problems = [member.document.trial.problem.canonical() for member in (one, other)]
    if problems[0] != problems[1]:
        found.append(
            "The trials train on different problems or data, so a difference of their values says nothing about the "
            "optimizers."
        )
    targets = [member.workload.target for member in (one, other)]
    if problems[0] == problems[1] and targets[0] != targets[1]:
        found.append("The trials have different targets, so the steps to the target do not compare.")
    budgets = [str(member.document.trial.budget) for member in (one, other)]
    if budgets[0] != budgets[1]:
        found.append(f"The budgets differ: {budgets[0]} and {budgets[1]}.")
    for side, member in zip(SIDES, (one, other), strict=True):
        if member.document.imported is not None:
            found.append(f"The {side} was imported: {not_known()}.")
        if member.document.status == "failed":
            found.append(f"The {side} failed, so it has no final values.")
    return found
