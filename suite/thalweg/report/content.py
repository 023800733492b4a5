"""The content of a report: sections of sentences, tables and charts about the results that the app shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import altair as alt
import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.present import ladders, notes, over_all, tuning
from thalweg.present.charts.curves import curve_chart
from thalweg.present.charts.intervals import interval_chart
from thalweg.present.curves import has_log_axis, mean_curves, splits_of
from thalweg.present.loaded import Loaded
from thalweg.present.notes import Note
from thalweg.present.picture import Picture
from thalweg.present.probes import probes_by_label
from thalweg.present.sentences import band_caption, capital, count, interval_caption, ranked_by, title_of
from thalweg.present.standings import Board
from thalweg.present.table import Table
from thalweg.present.view import View
from thalweg.registry import Registry
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import SECONDS, STEPS, ranking_metric
from thalweg.scoring.tuning import best_settings
from thalweg.store.overlay import laid_over
from thalweg.store.tables import read_table

MOST_ROWS = 20_000
"""The most rows of a probe's table that a report draws; more make it slow to open."""

Part = Note | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading, and the parts below it."""

    title: str
    parts: list[Part]


@dataclass(frozen=True)
class Report:
    """The whole report."""

    title: str
    summary: str
    counts: dict[str, int]
    """The number of trials by status, with the status "missing" for trials that are not on disk."""
    sections: list[Section]
    ran_on: list[str]
    definition: str
    """The benchmark's file."""
    warnings: list[Note] = field(default_factory=list)


def report_of(loaded: Loaded, registry: Registry) -> Report:
    """The report of a benchmark's results."""
    view, benchmark = loaded.view, loaded.benchmark
    trials = view.seen.trials
    first = [("Ladders", _ladders(loaded)), ("Over all workloads", _over_all(view))]
    sections = [Section(title, parts) for title, each in first if (parts := list(each))]
    sections += [Section(name, list(_workload(view, each, registry))) for name, each in view.workloads.items()]
    if beside := [*notes.remarks(view), *notes.failed(view), *notes.missing(view)]:
        sections.append(Section("Beside the numbers", [*beside]))
    return Report(
        (benchmark.spec.title if benchmark else "") or loaded.name,
        benchmark.spec.summary if benchmark else "",
        {status: int((trials["status"] == status).sum()) for status in ("done", "diverged", "failed")}
        | {"missing": len(view.missing)},
        sections,
        sorted(trials["ran_on"].unique()),
        benchmark.text if benchmark else "",
        [*notes.warnings(loaded), *([left] if (left := notes.ignored(laid_over(view.everything.results))) else [])],
    )


def _ladders(loaded: Loaded) -> Iterator[Part]:
    scores = ladders.scores_of(loaded)
    if scores is not None and len(scores):
        yield Note(ladders.INTRODUCTION)
        yield ladders.picture(scores)
        yield ladders.matrix(scores)


def _over_all(view: View) -> Iterator[Part]:
    found = view.over_all
    if found is None:
        return
    if found.table.empty:
        yield Note(over_all.left_out(found, view))
        return
    yield Note(over_all.introduction(found))
    yield over_all.standings(found)
    yield from over_all.pictures(found, view.optimizers)
    if reasons := over_all.left_out(found, view):
        yield Note(reasons)


def _workload(view: View, workload: Workload, registry: Registry) -> Iterator[Part]:
    rows = leaderboard(view.seen, {workload.name: workload})
    if rows.empty:
        yield Note("No trial of this workload is there yet.")
        return
    metric = workload.metric
    yield Note(ranked_by(workload, metric))
    board = Board(rows, workload, metric)
    yield board.table
    if board.remark:
        yield Note(board.remark)
    if rows["value"].notna().any():
        yield Picture(interval_chart(rows, metric, workload.split, view.optimizers), interval_caption(metric))
    else:
        yield Note("No seed finished with a value.")
    yield from _costs(view, workload)
    yield from _curves(view, workload)
    yield from _tuning(view, workload)
    yield from _probes(view, workload, rows, registry)


def _costs(view: View, workload: Workload) -> Iterator[Part]:
    """Steps to the target and, where steps were timed, seconds to the target, with their intervals."""
    for metric in (STEPS, SECONDS) if workload.target else ():
        if ranking_metric(workload, metric.name) is None:
            continue  # imported curves do not tell it
        costs = leaderboard(view.seen, {workload.name: workload}, metric.name)
        if costs["value"].notna().any():
            never = [str(name) for name in costs.loc[costs["value"].isna(), "optimizer"]]
            without = f" Not every seed of {', '.join(never)} gets there." if never and metric is STEPS else ""
            what = metric.name.replace("_", " ")
            yield Picture(
                interval_chart(costs, metric, "", view.optimizers),
                f"{capital(what)}, geometric mean over seeds with a 95% t-interval; fewer are better.{without}",
            )


_SPLITS = {"train": "Training", "valid": "Validation"}


def _curves(view: View, workload: Workload) -> Iterator[Part]:
    """The ranking metric and the training loss, against the unit of the budget."""
    curves = view.curves(workload.name)
    metric = workload.metric
    loss = next((one for one in workload.metrics if one.name == "loss"), None)
    wanted: list[tuple[Metric, str]] = [(metric, split) for split in splits_of(curves, metric.name)[:1]]
    if loss and (loss, "train") not in wanted and "train" in splits_of(curves, loss.name):
        wanted.append((loss, "train"))
    for one, split in wanted:
        log = has_log_axis(curves, one, split)
        means = mean_curves(curves, one.name, split, log)
        if means.empty or means.groupby("optimizer").size().max() < 2:
            continue  # a line needs two points
        target = workload.target if split == workload.target_split else None
        chart = curve_chart(means, one, split, workload.axis, view.optimizers, log_y=log, target=target)
        zeros = log and (curves.loc[(curves["metric"] == one.name) & (curves["split"] == split), "value"] <= 0).any()
        more = " Zeros are not drawn." if zeros else ""
        yield Picture(chart, f"{_SPLITS[split]} {one.name}. {band_caption(log)}{more}")


def _tuning(view: View, workload: Workload) -> Iterator[Part]:
    plan = view.plan
    if plan is None or not plan.outcomes:
        return
    if rates := tuning.sensitivity_picture(view, plan, workload):
        yield rates
    yield tuning.best_table(best_settings(plan), workload)
    if budgets := tuning.budget_picture(view, plan, workload):
        yield budgets


def _probes(view: View, workload: Workload, board: pd.DataFrame, registry: Registry) -> Iterator[Part]:
    """The chart of each probe, of the first trial in the order of rank and seed that has the probe's table."""
    trials = view.seen.trials[view.seen.trials["workload"] == workload.name]
    order = {name: place for place, name in enumerate(board["optimizer"])}
    trials = trials.iloc[np.lexsort((trials["seed"], trials["optimizer"].map(order).fillna(len(order))))]
    titles = [title_of(row["workload"], row["optimizer"], row["seed"]) for row in trials.to_dict("records")]
    for label, one in probes_by_label(trials, view.stored, laid_over(view.everything.results)).items():
        first = next((title for title in titles if title in one.done), None)
        if first is None:
            continue
        try:
            table = read_table(one.done[first], f"probes/{one.key}.parquet")
            if len(table) > MOST_ROWS:
                yield Note(f"{label}: its {len(table):,} rows are too many for a report; the app shows them.")
                continue
            chart = registry.probe(one.ref.name).chart(table)
        except UserError as error:
            yield Note(f"{label}: no chart, since the probe's plugin is not here: {error}")
        except Exception as error:  # a plugin's mistake, or a file's, must not take the report down
            yield Note(f"{label}: cannot be drawn: {type(error).__name__}: {error}")
        else:
            if isinstance(chart, alt.TopLevelMixin):
                others = f", one of {count(len(one.done), 'trial')} with this probe" if len(one.done) > 1 else ""
                here = "; measured here, and no part of the packed results" if first in one.here else ""
                yield Picture(chart, f"Probe {label}: {first}{others}{here}.")
