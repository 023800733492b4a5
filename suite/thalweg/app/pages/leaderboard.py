"""The leaderboard: a table and a chart for each workload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from thalweg.app.data import Source
from thalweg.app.pages import over_all
from thalweg.app.sidebar import select
from thalweg.benchmark import Workload
from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.present import notes
from thalweg.present.charts.curves import interval_chart
from thalweg.present.curves import has_log_axis, sparklines, splits_of
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import aim, plain, ranking
from thalweg.present.tables import standings, trial_list
from thalweg.present.view import IN_BENCHMARK
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import FINAL, MEASURES, MEMORY, SECONDS, STABILITY, ranking_metric, where_read
from thalweg.scoring.scales import changes, settled

OWN = "the workload's metric"

LINES, ROWS = 200, 1000
"""Of more trials than this a page lists only the first: a browser takes seconds for them, and nobody reads them."""

COST_WORDS = {
    "steps_to_target": "steps to the target",
    "gradient_evaluations_to_target": "gradient evaluations to the target",
    "curvature_products_to_target": "products with a Hessian, GGN or Fisher matrix to the target",
    "factor_inversions_to_target": "matrices inverted or decomposed to the target",
    "seconds_to_target": "seconds to the target: steps times the seconds of a step, timed by themselves",
    "state_bytes": "the memory of the optimizer's state at the end, in bytes",
}


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    view = loaded.view
    title = loaded.benchmark.spec.title if loaded.benchmark else ""
    st.title(plain(f"{title or loaded.name}: leaderboard"))
    trials = view.seen.trials
    with st.container(horizontal=True):
        for status in ("done", "diverged", "failed"):
            st.metric(status, int((trials["status"] == status).sum()), width=110)
        st.metric("missing", len(view.missing), width=110, help="trials that the benchmark asks for and are not there")
    titles = {OWN: None, **{cost.replace("_", " "): cost for cost in MEASURES}}
    by = titles[select("ranked by", list(titles), "by", OWN)]
    try:
        board = view.stability if by == STABILITY.name else leaderboard(view.seen, view.workloads, by)
    except UserError:
        board = pd.DataFrame(columns=["workload"])
    if by is None:
        over_all.show(view)
    workloads = settled(view.workloads, view.seen.curves, by)
    for sentence in changes(view.workloads, workloads):
        st.caption(f"{sentence}.")
    for name, workload in workloads.items():
        rows = board[board["workload"] == name]
        st.subheader(name, anchor=name)
        metric = ranking_metric(workload, by)
        if metric is None:
            lacks = "validation split" if by == FINAL else "target, so there is no cost of reaching it"
            st.info(f"This workload has no {lacks}.")
        elif rows.empty:
            st.info("No trial of this workload is there yet.")
        elif metric is SECONDS and trials["step_seconds"].isna().all():
            st.info("No step was timed yet: type `thalweg run BENCHMARK --timed`.")
        elif metric is MEMORY and rows["value"].isna().all():
            st.info("These trials are from before the memory of the state was recorded.")
        else:
            _workload(workload, metric, rows, loaded)
    _notes(loaded)
    _trials(source, loaded)


def _workload(workload: Workload, metric: Metric, board: pd.DataFrame, loaded: Loaded) -> None:
    view = loaded.view
    goal = aim(workload)
    own = metric is workload.metric
    by = ranking(workload) if own else f"{_words(workload, metric)}; {metric.better} is better"
    st.markdown(f"Ranked by {by}" + (f"; {goal}." if goal else "."))
    trials = view.seen.trials[view.seen.trials["workload"] == workload.name]
    curves = view.seen.curves[view.seen.curves["workload"] == workload.name]
    sparks = sparklines(curves, workload)
    table = standings(board, workload, metric, trials, sparks)
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height="content",
        placeholder="–",
        column_order=_columns(table, workload, metric),
        column_config=_config(
            workload,
            metric,
            curves,
            [value for line in sparks.values() for value in line],
            longest=int(table["optimizer"].str.len().max()),
        ),
        key=f"standings-{workload.name}",
    )
    split = workload.split if own else ""
    st.altair_chart(interval_chart(board, metric, split, view.optimizers), width="stretch")
    mean = "Geometric mean" if metric.scale == "log" else "Mean"
    what = f"{mean} over the seeds that finished, with a 95% t-interval."
    if metric is STABILITY:
        what = "The share of all trials, with Clopper and Pearson's 95% interval; those that diverged or failed count."
    st.caption(f"{what} Ranks joined by a dash are open: those optimizers' intervals overlap.")


def _words(workload: Workload, metric: Metric) -> str:
    name = metric.name.replace("_", " ")
    return COST_WORDS.get(metric.name) or f"{name} ({where_read(workload, metric)})"


def _columns(table: pd.DataFrame, workload: Workload, metric: Metric) -> list[str]:
    """The columns that say something: all but those that would be the same for any row."""
    shown = list(table.columns)
    if not workload.target:
        shown = [column for column in shown if column not in ("reached", "steps_to_target")]
    if metric is STABILITY:
        shown.remove("steps_to_target")
    if (table["in_benchmark"] == IN_BENCHMARK).all():
        shown.remove("in_benchmark")
    return shown


def _config(
    workload: Workload, ranked: Metric, curves: pd.DataFrame, values: list[float], longest: int
) -> dict[str, Any]:
    column = st.column_config
    metric = workload.metric
    split = (splits_of(curves, metric.name) or [workload.split])[0]
    scale = ", log scale" if has_log_axis(curves, metric, split) else ""
    cost = ranked is not metric
    title = ranked.name.replace("_", " ") if cost else metric.name
    return {
        "rank": column.TextColumn("rank", width=50, pinned=True),
        "optimizer": column.TextColumn("optimizer", width=max(95, min(20 + 7 * longest, 190)), pinned=True),
        "value": column.NumberColumn(
            title, format={"%": "%.1f%%", "bytes": "localized"}.get(ranked.unit, "%.4g"), width=150 if cost else 75
        ),
        "interval": column.TextColumn("95% interval", width=150),
        "curve": column.LineChartColumn(
            f"{split} {metric.name}{scale}",
            help="over the evaluations of training, mean over seeds; one scale for all rows",
            width=125,
            color="blue",
            y_min=min(values, default=None),
            y_max=max(values, default=None),
        ),
        "reached": column.TextColumn("reached", help="those that reached the target", width=65),
        "steps_to_target": column.NumberColumn(
            "steps to it",
            format="%.0f",
            help="geometric mean over seeds, where all of them reached the target",
            width=75,
        ),
        "seeds": column.NumberColumn("trials" if ranked is STABILITY else "seeds", width=50),
        "diverged": column.NumberColumn("diverged", width=65),
        "failed": column.NumberColumn("failed", width=50),
        "in_benchmark": column.TextColumn(
            "in benchmark",
            help="added: not of the benchmark's own grid, run with --with or with other settings",
            width=100,
        ),
    }


def _notes(loaded: Loaded) -> None:
    view = loaded.view
    for note in notes.remarks(view):
        st.caption(plain(note.text))
    for note in notes.missing(view):
        with st.expander(note.text):
            st.write(_list(note.items))
    for note in notes.failed(view):
        st.error(f"{plain(note.text)}\n\n{_list(note.items)}")


def _list(lines: Sequence[str]) -> str:
    """As Markdown, the first of them where there are more than anyone reads."""
    more = len(lines) - LINES
    return "\n".join([*(f"- {plain(line)}" for line in lines[:LINES]), *([f"- and {more:,} more"] if more > 0 else [])])


def _trials(source: Source, loaded: Loaded) -> None:
    trials = loaded.view.seen.trials
    head = f"The first {ROWS:,} of {len(trials):,} trials" if len(trials) > ROWS else "All trials"
    with st.expander(head):
        table = trial_list(trials.head(ROWS), {"source": source.key, "benchmark": loaded.name})
        column = st.column_config
        st.dataframe(
            table,
            hide_index=True,
            width="stretch",
            column_config={
                "seed": column.NumberColumn(width=60),
                "in_benchmark": column.TextColumn("in benchmark"),
                "page": column.LinkColumn("page", display_text="open", width=60),
                "reason": column.TextColumn("reason", width="large"),
            },
        )
