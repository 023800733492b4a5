"""The leaderboard: a table and a chart for each workload; a row leads to its curves, trials and landscapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from thalweg.app.data import Source
from thalweg.app.drawing import pick_row, show_chart
from thalweg.app.links import link
from thalweg.app.pages import ladders, over_all, track
from thalweg.app.sharing import share
from thalweg.app.sidebar import select, words
from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.present import notes
from thalweg.present.charts.intervals import interval_chart
from thalweg.present.conditions import conditions, kept
from thalweg.present.loaded import Loaded
from thalweg.present.reproduce import leaderboard_command
from thalweg.present.sentences import few, interval_caption, plain, ranked_by
from thalweg.present.standings import Board
from thalweg.present.view import View
from thalweg.scoring.measures import FINAL, MEASURES, SECONDS, STATE_BYTES, ranking_metric
from thalweg.scoring.scales import changes

OWN = "the workload's metric"
ALL = "all workloads"

MOST_LINES = 200
"""The most lines of a list that the page shows: a browser takes seconds for more."""


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    view = loaded.view
    title = loaded.benchmark.spec.title if loaded.benchmark else ""
    st.title(plain(f"{title or loaded.name}: leaderboard"))
    _counts(loaded)
    titles = {OWN: None, **{cost.replace("_", " "): cost for cost in MEASURES}}
    boxes = st.columns(4)
    with boxes[0]:
        by = titles[select("ranked by", list(titles), "by", OWN)]
    board, workloads = view.ranked(by)
    with boxes[1]:
        only = select("workloads", [ALL, *workloads], "only", ALL)
    with boxes[2]:
        names = words("optimizers", "words", "a part of a name")
    with boxes[3]:
        settings = words("hyperparameters", "where", "lr>=0.01 momentum=0.9")
    shown = _kept(board if only == ALL or board.empty else board[board["workload"] == only], names, settings, view)
    if by is None and only == ALL and not names and not settings:
        ladders.show(loaded)
        track.show(source, loaded)
        over_all.show(view)
    for sentence in changes(view.workloads, workloads):
        st.caption(f"{sentence}.")
    charts: dict[str, alt.TopLevelMixin] = {}
    for name, workload in workloads.items():
        if only in (ALL, name):
            rows = shown[shown["workload"] == name]
            st.subheader(name, anchor=name)
            if rows.empty and (board["workload"] == name).any():
                st.info("No optimizer of this workload meets the choices above.")
            else:
                charts |= _workload(workload, by, rows, source, loaded)
    share(
        "leaderboard",
        charts,
        {"the table": shown},
        leaderboard_command(source.path, loaded.name, by, only if only != ALL else ""),
    )
    _notes(loaded)


def _kept(rows: pd.DataFrame, names: str, settings: str, view: View) -> pd.DataFrame:
    """The rows of optimizers whose names hold one of the words, and for whose trials the conditions hold.

    The page tells a mistake in the conditions, and keeps all rows.
    """
    if settings and len(rows):
        try:
            rows = rows[kept(conditions(settings), _hyperparameters(rows, view))]
        except UserError as error:
            st.warning(plain(f"hyperparameters: {error}"))
    wanted = names.lower().replace(",", " ").split()
    if wanted and len(rows):
        rows = rows[[any(word in str(name).lower() for word in wanted) for name in rows["optimizer"]]]
    return rows


def _hyperparameters(rows: pd.DataFrame, view: View) -> list[dict[str, Any]]:
    """The hyperparameters of each row's optimizer, whose trials have the same ones on a workload."""
    trials = view.seen.trials.drop_duplicates(["workload", "optimizer"]).set_index(["workload", "optimizer"])["hash"]
    return view.hyperparameters(trials[key] for key in zip(rows["workload"], rows["optimizer"], strict=True))


def _counts(loaded: Loaded) -> None:
    trials = loaded.view.seen.trials
    with st.container(horizontal=True, key="counts"):
        for status in ("done", "diverged", "failed"):
            number = int((trials["status"] == status).sum())
            with st.container(width=120):
                st.metric(status, number)
                if number:
                    link("show", "trials", status=status)
        st.metric(
            "missing",
            len(loaded.view.missing) if loaded.benchmark else "–",
            width=110,
            help="trials that the benchmark asks for and that are not on disk",
        )


def _workload(
    workload: Workload, by: str | None, rows: pd.DataFrame, source: Source, loaded: Loaded
) -> dict[str, alt.TopLevelMixin]:
    """Draw a workload's table and chart; the chart by its title."""
    view = loaded.view
    metric = ranking_metric(workload, by)
    if metric is None:
        lacks = "validation split" if by == FINAL else "target, so there is no cost of reaching it"
        st.info(f"This workload has no {lacks}.")
    elif rows.empty:
        st.info("No trial of this workload is there yet.")
    elif metric is SECONDS and view.seen.trials["step_seconds"].isna().all():
        st.info("No step was timed yet: type `thalweg run BENCHMARK --timed`.")
    elif metric is STATE_BYTES and rows["value"].isna().all():
        st.info("These trials have no value: the memory of the state was not recorded, or could not be told.")
    else:
        return {workload.name: _board(workload, metric, rows, source, loaded)}
    return {}


def _board(workload: Workload, metric: Metric, rows: pd.DataFrame, source: Source, loaded: Loaded) -> alt.TopLevelMixin:
    view = loaded.view
    st.markdown(plain(ranked_by(workload, metric)))
    trials = view.seen.trials[view.seen.trials["workload"] == workload.name]
    board = Board(rows, workload, metric, trials, view.sparklines(workload))
    chosen = pick_row(board.table, f"standings-{workload.name}")
    if board.remark:
        st.caption(plain(board.remark))
    if chosen is not None and chosen < len(rows):
        _ways(str(rows["optimizer"].iloc[chosen]), workload, loaded)
    split = workload.split if metric is workload.metric else ""
    chart = interval_chart(rows, metric, split, view.optimizers)
    show_chart(chart, f"chart-{workload.name}")
    st.caption(interval_caption(metric))
    return chart


def _ways(optimizer: str, workload: Workload, loaded: Loaded) -> None:
    """Draw the links of a chosen row."""
    with st.container(horizontal=True, border=True):
        st.markdown(f"**{plain(optimizer)}**", width="content")
        link("learning curves", "curves", workload=workload.name, drawn=optimizer)
        link("trials", "trials", workload=workload.name, optimizer=optimizer)
        if loaded.view.everything.trials["probes_done"].ne("").any():
            link("landscapes", "landscape", workload=workload.name, optimizer=optimizer)
        if loaded.view.plan and loaded.view.plan.outcomes:
            link("tuning", "tuning")
        link("about it", "plugins", kind="optimizers", name=optimizer)


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
    return "\n".join(f"- {plain(line)}" for line in few(lines, MOST_LINES))
