"""The leaderboard: a table and a chart for each workload."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from thalweg.app.data import Source
from thalweg.app.drawing import show_table
from thalweg.app.pages import ladders, over_all, track
from thalweg.app.sidebar import select
from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.present import notes
from thalweg.present.charts.intervals import interval_chart
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import interval_caption, plain, ranked_by
from thalweg.present.standings import Board
from thalweg.present.tables import trial_list
from thalweg.scoring.measures import FINAL, MEASURES, SECONDS, STATE_BYTES, ranking_metric
from thalweg.scoring.scales import changes

OWN = "the workload's metric"

MOST_LINES, MOST_ROWS = 200, 1000
"""The most lines of a list, and rows of the table of trials, that the page shows: a browser takes seconds for more."""


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    view = loaded.view
    title = loaded.benchmark.spec.title if loaded.benchmark else ""
    st.title(plain(f"{title or loaded.name}: leaderboard"))
    trials = view.seen.trials
    with st.container(horizontal=True):
        for status in ("done", "diverged", "failed"):
            st.metric(status, int((trials["status"] == status).sum()), width=110)
        st.metric(
            "missing", len(view.missing), width=110, help="trials that the benchmark asks for and that are not on disk"
        )
    titles = {OWN: None, **{cost.replace("_", " "): cost for cost in MEASURES}}
    by = titles[select("ranked by", list(titles), "by", OWN)]
    board, workloads = view.ranked(by)
    if by is None:
        ladders.show(loaded)
        track.show(source, loaded)
        over_all.show(view)
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
        elif metric is STATE_BYTES and rows["value"].isna().all():
            st.info("These trials have no value: the memory of the state was not recorded when they were trained.")
        else:
            _workload(workload, metric, rows, loaded)
    _notes(loaded)
    _trials(source, loaded)


def _workload(workload: Workload, metric: Metric, rows: pd.DataFrame, loaded: Loaded) -> None:
    view = loaded.view
    st.markdown(ranked_by(workload, metric))
    trials = view.seen.trials[view.seen.trials["workload"] == workload.name]
    show_table(Board(rows, workload, metric, trials, view.board_curves(workload)).table, f"standings-{workload.name}")
    split = workload.split if metric is workload.metric else ""
    st.altair_chart(interval_chart(rows, metric, split, view.optimizers), width="stretch")
    st.caption(interval_caption(metric))


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
    """The lines as a list in Markdown; of many the first ones, and how many more there are."""
    more = len(lines) - MOST_LINES
    return "\n".join(
        [*(f"- {plain(line)}" for line in lines[:MOST_LINES]), *([f"- and {more:,} more"] if more > 0 else [])]
    )


def _trials(source: Source, loaded: Loaded) -> None:
    trials = loaded.view.seen.trials
    head = f"The first {MOST_ROWS:,} of {len(trials):,} trials" if len(trials) > MOST_ROWS else "All trials"
    with st.expander(head):
        table = trial_list(trials.head(MOST_ROWS), {"source": source.key, "benchmark": loaded.name})
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
