"""What a report holds: sections of sentences, tables and charts, of the results that the app would show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import altair as alt
import numpy as np
import pandas as pd

from thalweg.app import notes
from thalweg.app.charts import curve_chart, interval_chart
from thalweg.app.curves import has_log_axis, mean_curves, splits_of
from thalweg.app.loaded import Loaded
from thalweg.app.notes import Note
from thalweg.app.over_all_charts import Picture, left_out, pictures
from thalweg.app.probes import measured
from thalweg.app.tuning_charts import budget_chart, sensitivity_chart
from thalweg.app.view import View
from thalweg.app.words import aim, capital, count, interval, ranking, ranks, title_of
from thalweg.benchmark import Workload
from thalweg.commands.output import number
from thalweg.commands.over_all import HEADINGS, rows_of
from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import SECONDS, STEPS
from thalweg.scoring.tuning import best_settings, remark, shown_setting
from thalweg.store.tables import read_table

CELLS = 20_000
"""Rows of a probe's table that a report takes: more make it slow to open."""


@dataclass(frozen=True)
class Table:
    """Headings, and rows of text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


Part = Note | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    title: str
    parts: list[Part]


@dataclass(frozen=True)
class Report:
    """All of it."""

    title: str
    summary: str
    counts: dict[str, int]
    """Trials by status, and those missing."""
    sections: list[Section]
    ran_on: list[str]
    definition: str
    """The benchmark's file."""
    warnings: list[Note] = field(default_factory=list)


def report_of(loaded: Loaded, registry: Registry) -> Report:
    """The report of a benchmark's results."""
    view, benchmark = loaded.view, loaded.benchmark
    trials = view.seen.trials
    sections = [Section("Over all workloads", parts)] if (parts := list(_over_all(view))) else []
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
        notes.warnings(loaded),
    )


def _over_all(view: View) -> Iterator[Part]:
    found = view.over_all
    if found is None:
        return
    if found.table.empty:
        yield Note(left_out(found, view))
        return
    yield Note(
        f"Ranked by the area under each line below, on the {len(found.workloads)} workloads that have a target, "
        "whoever else is there."
    )
    yield Table(HEADINGS, rows_of(found))
    yield from pictures(found, view.optimizers)
    if reasons := left_out(found, view):
        yield Note(reasons)


def _workload(view: View, workload: Workload, registry: Registry) -> Iterator[Part]:
    board = leaderboard(view.seen, {workload.name: workload})
    if board.empty:
        yield Note("No trial of this workload is there yet.")
        return
    goal = aim(workload)
    yield Note(f"Ranked by {ranking(workload)}" + (f"; {goal}." if goal else "."))
    yield _standings(board, workload)
    if board["value"].notna().any():
        mean = "Geometric mean" if workload.metric.scale == "log" else "Mean"
        yield Picture(
            interval_chart(board, workload.metric, workload.split, view.optimizers),
            f"{mean} over the seeds that finished, with a 95% t-interval. Ranks joined by a dash are open: those "
            "optimizers' intervals overlap.",
        )
    else:
        yield Note("No seed finished with a value.")
    yield from _costs(view, workload)
    yield from _curves(view, workload)
    yield from _tuning(view, workload)
    yield from _probes(view, workload, board, registry)


def _standings(board: pd.DataFrame, workload: Workload) -> Table:
    metric = workload.metric
    timed = board["seconds_to_target"].notna().any()
    lost = [name for name in ("diverged", "failed") if board[name].any()]
    headings = ["rank", "optimizer", metric.name, "95% interval", "seeds"]
    headings += ["reached", "steps to target"] if workload.target else []
    headings += ["seconds to target"] if timed else []
    rows = []
    for row in board.to_dict("records"):
        cells = [
            ranks(row["rank_low"], row["rank_high"]),
            row["optimizer"],
            number(row["value"], metric.unit),
            interval(row["low"], row["high"], metric.unit),
            str(row["seeds"]),
        ]
        cells += [f"{row['reached']} of {row['seeds']}", _whole(row["steps_to_target"])] if workload.target else []
        cells += [number(row["seconds_to_target"], digits=3)] if timed else []
        rows.append(cells + [str(row[name]) for name in lost])
    return Table([*headings, *lost], rows)


def _whole(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f}"


def _costs(view: View, workload: Workload) -> Iterator[Part]:
    """Steps to the target, and seconds where steps were timed, with their intervals."""
    for metric in (STEPS, SECONDS) if workload.target else ():
        board = leaderboard(view.seen, {workload.name: workload}, metric.name)
        if board["value"].notna().any():
            never = [str(name) for name in board.loc[board["value"].isna(), "optimizer"]]
            without = f" Not every seed of {', '.join(never)} gets there." if never and metric is STEPS else ""
            what = metric.name.replace("_", " ")
            yield Picture(
                interval_chart(board, metric, "", view.optimizers),
                f"{capital(what)}, geometric mean over seeds with a 95% t-interval; fewer are better.{without}",
            )


_SPLITS = {"train": "Training", "valid": "Validation"}


def _curves(view: View, workload: Workload) -> Iterator[Part]:
    """The ranking metric, and the training loss, against what is spent of the budget."""
    curves = view.seen.curves[view.seen.curves["workload"] == workload.name]
    metric = workload.metric
    loss = next((one for one in workload.metrics if one.name == "loss"), None)
    wanted: list[tuple[Metric, str]] = [(metric, split) for split in splits_of(curves, metric.name)[:1]]
    if loss and (loss, "train") not in wanted and "train" in splits_of(curves, loss.name):
        wanted.append((loss, "train"))
    for one, split in wanted:
        log = has_log_axis(curves, one, split)
        means = mean_curves(curves, one.name, split, log)
        if means.empty or means.groupby("optimizer").size().max() < 2:
            continue  # a line takes two points
        target = workload.target if split == workload.target_split else None
        chart = curve_chart(means, one, split, workload.axis, view.optimizers, False, log, target)
        mean = "geometric mean" if log else "mean"
        what = f"{_SPLITS[split]} {one.name}: {mean} over seeds"
        zeros = log and (curves.loc[(curves["metric"] == one.name) & (curves["split"] == split), "value"] <= 0).any()
        more = " Zeros are not drawn." if zeros else ""
        yield Picture(chart, f"{what}; the band runs from the smallest to the largest of them.{more}")


def _tuning(view: View, workload: Workload) -> Iterator[Part]:
    plan = view.plan
    if plan is None or not plan.outcomes:
        return
    metric, split = workload.metric, workload.target_split
    tried = plan.tried[plan.tried["workload"] == workload.name]
    among = sorted({*view.optimizers, *tried["optimizer"]})
    with_rates = tried[tried["lr"].notna() & (tried["status"] != "missing")]
    if len(with_rates):
        extended = " All ranges were extended, once." if workload.name in plan.extended else ""
        yield Picture(
            sensitivity_chart(with_rates, metric, split, among),
            "Tuning: each point is one learning rate, large ones are the best for a budget; crosses at the bottom "
            f"diverged or failed.{extended}",
        )
    best = best_settings(plan)
    rows = [
        [
            row["optimizer"],
            shown_setting(row),
            number(row["value"], metric.unit),
            remark(row),
            f"{row['reached_end']} of {row['tried']}",
            f"{row['gradient_evaluations']:,}",
        ]
        for row in best[best["workload"] == workload.name].to_dict("records")
    ]
    headings = ["optimizer", "best setting", f"{split} {metric.name}", "note", "finished", "gradient evaluations"]
    yield Table(headings, rows)
    boards = view.budgets
    mine = boards[boards["workload"] == workload.name] if len(boards) else boards
    if len({*mine["budget"]}) > 1:
        yield Picture(
            budget_chart(mine, metric, workload.split, among),
            f"What tuning is worth: the {workload.split} {metric.name} of fresh seeds at the best of so many settings, "
            "with 95% t-intervals.",
        )


def _probes(view: View, workload: Workload, board: pd.DataFrame, registry: Registry) -> Iterator[Part]:
    """Of each probe the chart of the best-ranked optimizer's first seed that has one."""
    trials = view.seen.trials[view.seen.trials["workload"] == workload.name]
    order = {name: place for place, name in enumerate(board["optimizer"])}
    trials = trials.iloc[np.lexsort((trials["seed"], trials["optimizer"].map(order).fillna(len(order))))]
    titles = [title_of(row["workload"], row["optimizer"], row["seed"]) for row in trials.to_dict("records")]
    for label, one in measured(trials, view.stored).items():
        first = next((title for title in titles if title in one.done), None)
        if first is None:
            continue
        try:
            table = read_table(one.done[first], f"probes/{one.key}.parquet")
            if len(table) > CELLS:
                yield Note(f"{label}: {len(table):,} rows are too many for a report: see the app.")
                continue
            chart = registry.probe(one.ref.name).chart(table)
        except UserError as error:
            yield Note(f"{label}: no chart, since its plugin is not here: {error}")
        except Exception as error:  # a plugin's mistake, or a file's, must not take the report down
            yield Note(f"{label}: cannot be drawn: {type(error).__name__}: {error}")
        else:
            if isinstance(chart, alt.TopLevelMixin):
                others = f", one of {count(len(one.done), 'trial')} with this probe" if len(one.done) > 1 else ""
                yield Picture(chart, f"Probe {label}: {first}{others}.")
