"""Learning curves: optimizers of a workload, and of another benchmark's, against steps, epochs, work or seconds."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from thalweg.app.data import Source, load
from thalweg.app.drawing import show_chart
from thalweg.app.sharing import share
from thalweg.app.sidebar import select, select_many, select_one
from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.present.charts.curves import curve_chart
from thalweg.present.charts.palette import ELSEWHERE
from thalweg.present.curves import (
    AXES,
    ZERO,
    has_log_axis,
    marks,
    mean_curves,
    metrics_of,
    seed_curves,
    smoothed,
    splits_of,
)
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import SECONDS_CAPTION, band_caption, count, marks_caption, plain
from thalweg.present.view import View
from thalweg.store.roots import benchmarks_in

NONE = "none"
AT_FIRST = 12
"""Optimizers that are drawn at first, at most: more lines cannot be told apart."""
BANDS, SEEDS = "mean and band", "every seed"


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    view = loaded.view
    st.title("Learning curves")
    workloads = view.with_curves
    if not workloads:
        st.info("No trial has a curve yet.")
        return
    left, middle, right, far = st.columns(4)
    with left:
        workload = view.workloads[select("workload", workloads, "workload")]
    curves = view.curves(workload.name)
    metrics = {metric.name: metric for metric in metrics_of(curves, workload) if splits_of(curves, metric.name)}
    with middle:
        metric = metrics[select("metric", list(metrics), "metric", workload.metric.name)]
    with right:
        beside, trials = _beside(source, loaded, workload, metric)
    curves = pd.concat([curves, beside], ignore_index=True) if len(beside) else curves
    trials = pd.concat([_trials(view, workload), trials], ignore_index=True)
    with far:
        # an axis needs a trial that spent something of it
        axes = {title: axis for axis, title in AXES.items() if axis in curves and curves[axis].any()}
        axis = axes[select("axis", list(axes), "axis")]
    chosen = _optimizers(view, workload, curves)
    splits = _splits(curves, metric)
    if not chosen or not splits:
        st.info("Nothing to draw: choose an optimizer that has this metric, and a split.")
        return
    drawn = curves[curves["optimizer"].isin(chosen)]
    _charts(workload, metric, splits, axis, drawn, trials[trials["optimizer"].isin(chosen)])


def _trials(view: View, workload: Workload) -> pd.DataFrame:
    trials = view.seen.trials
    return trials.loc[trials["workload"] == workload.name, ["optimizer", "seed", "status"]]


def _beside(source: Source, loaded: Loaded, workload: Workload, metric: Metric) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves and trials of a workload of another benchmark, its optimizers named with the benchmark."""
    nothing = pd.DataFrame(), pd.DataFrame(columns=["optimizer", "seed", "status"])
    names = [name for name in benchmarks_in(source.path) if name != loaded.name]
    other = select("beside", [NONE, *names], "beside", NONE)
    if other == NONE:
        return nothing
    try:
        view = load(source.path, other).view
    except UserError as error:
        st.error(plain(str(error)))
        return nothing
    # a workload of the same name first: its curves have the same axes
    there = sorted(view.with_curves, key=lambda name: name != workload.name)
    if not there:
        st.info(plain(f"No trial of {other} has a curve yet."))
        return nothing
    name = select("its workload", there, "beside-workload")
    curves = view.curves(name)
    curves = curves[curves["metric"] == metric.name]
    if curves.empty:
        st.info(plain(f"{other}, {name} has no {metric.name}."))
    if name != workload.name:
        st.caption(plain(f"{name} of {other} is another task than {workload.name}: do not rank its curves."))
    renamed = curves["optimizer"].astype(str) + f"{ELSEWHERE}{other}"
    trials = _trials(view, view.workloads[name])
    trials = trials.assign(optimizer=trials["optimizer"].astype(str) + f"{ELSEWHERE}{other}")
    return curves.assign(optimizer=renamed), trials


def _optimizers(view: View, workload: Workload, curves: pd.DataFrame) -> list[str]:
    """The chosen optimizers; at first all, or the first ones of the leaderboard where there are many."""
    labels = sorted(map(str, curves["optimizer"].unique()))
    board = view.ranked().board
    best = [str(name) for name in board.loc[board["workload"] == workload.name, "optimizer"]] if len(board) else []
    order = [*(name for name in best if name in labels), *(name for name in labels if name not in best)]
    own = [name for name in order if ELSEWHERE not in name]
    others = [name for name in order if ELSEWHERE in name]
    # of several benchmarks the optimizers that both have come first
    shared = [name for name in others if name.split(ELSEWHERE)[0] in own]
    first = own[: AT_FIRST // 2] + (shared or others)[: AT_FIRST // 2] if others else own[:AT_FIRST]
    return select_many("optimizers", labels, "drawn", first)


def _splits(curves: pd.DataFrame, metric: Metric) -> list[str]:
    there = splits_of(curves, metric.name)
    if asked := st.session_state.get("splits"):
        st.session_state["splits"] = [name for name in asked if name in there] or there[:1]
    return st.pills("splits", there, selection_mode="multi", default=there[:1], key="splits", bind="query-params")


def _charts(
    workload: Workload, metric: Metric, splits: list[str], axis: str, curves: pd.DataFrame, trials: pd.DataFrame
) -> None:
    """Draw a chart for each split; all have one horizontal axis, and one part of it."""
    mine = curves[curves["metric"] == metric.name]
    logs = {split: has_log_axis(mine, metric, split) for split in splits}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        lines = select_one("lines", [BANDS, SEEDS], "lines")
        # the default depends on the metric, so each has a toggle of its own
        log = all(logs.values())
        log_y = st.toggle(
            "log values", value=log, key=f"{'log' if log else 'linear'}-{metric.name}", bind="query-params"
        )
        log_x = st.toggle("log axis", key="log-x", bind="query-params")
        marked = st.toggle("marks", key="marks", bind="query-params")
    with st.container(horizontal=True):
        last = float(mine[axis].max())
        part = st.slider("part of the axis, %", 0, 100, (0, 100), key="part", bind="query-params", width=300)
        weight = st.slider("smoothing", 0.0, 0.95, 0.0, 0.05, key="smoothing", bind="query-params", width=300)
    domain = None if part == (0, 100) or log_x else (last * part[0] / 100, last * part[1] / 100)
    among = sorted(map(str, mine["optimizer"].unique()))
    charts: dict[str, alt.TopLevelMixin] = {}
    tables: dict[str, pd.DataFrame] = {}
    foot = False
    for split in splits:
        table = (seed_curves if lines == SEEDS else mean_curves)(mine, metric.name, split, log_y)
        if table.empty:
            st.info(f"Nothing to draw on the {split} split.")
            continue
        found = marks(curves, trials, workload, metric.name, split, log_y)
        if not marked:
            # a curve that ends at zero would vanish without its mark
            found = found[found["what"] == ZERO]
        foot = foot or len(found) > 0
        charts[f"{metric.name} on {split}"] = chart = curve_chart(
            smoothed(table, weight, log_y),
            metric,
            split,
            axis,
            among,
            log_x=log_x,
            log_y=log_y,
            target=workload.target if split == workload.target_split else None,
            domain=domain,
            marks=found,
        )
        tables[f"{metric.name} on {split}"] = table
        show_chart(chart, f"curves-{split}")
    _caption(metric, axis, mine, trials, lines, log_y, weight, foot)
    share("curves", charts, tables)


def _caption(
    metric: Metric,
    axis: str,
    mine: pd.DataFrame,
    trials: pd.DataFrame,
    lines: str,
    log_y: bool,
    weight: float,
    marked: bool,
) -> None:
    notes = [band_caption(log_y) if lines == BANDS else "A line for each seed."]
    if weight:
        notes.append(f"Lines are an exponential moving average with weight {weight:g}; bands are not.")
    if marked:
        notes.append(marks_caption())
    if log_y and (mine["value"] < 0).any():
        notes.append("Values below zero are left out: they have no logarithm.")
    if axis == "work" and len(without := sorted(map(str, mine.loc[mine["work"].isna(), "optimizer"].unique()))):
        notes.append(f"Some trials of {', '.join(without)} are from before work was counted, and are not drawn.")
    if axis == "seconds":
        notes.append(SECONDS_CAPTION)
    if diverged := int((trials["status"] == "diverged").sum()):
        notes.append(f"{count(diverged, 'trial')} diverged: after that the mean is over the other seeds.")
    st.caption(plain(" ".join(notes)))
