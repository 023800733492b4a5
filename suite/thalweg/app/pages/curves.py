"""Learning curves: one workload's curves against steps, epochs, gradient evaluations, examples or seconds."""

from __future__ import annotations

import streamlit as st

from thalweg.app.data import Source
from thalweg.app.sidebar import select
from thalweg.present.charts.curves import curve_chart
from thalweg.present.curves import AXES, has_log_axis, mean_curves, metrics_of, splits_of
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import band_caption, count


def show(_source: Source, loaded: Loaded) -> None:
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
        split = select("split", splits_of(curves, metric.name), "split")
    with far:
        # an axis needs a trial that spent something of it
        axes = {title: axis for axis, title in AXES.items() if curves[axis].any()}
        axis = axes[select("axis", list(axes), "axis")]
    labels = sorted(curves["optimizer"].unique())
    chosen = st.multiselect("optimizers", labels, default=labels, key=f"optimizers-{workload.name}")
    with st.container(horizontal=True):
        on_log = has_log_axis(curves, metric, split)
        log_y = st.toggle("log values", value=on_log, key=f"log-y-{workload.name}-{metric.name}")
        log_x = st.toggle("log axis", key="log-x")
    means = mean_curves(curves[curves["optimizer"].isin(chosen)], metric.name, split, log_y)
    if means.empty:
        st.info("Nothing to draw: choose an optimizer that has this metric.")
        return
    target = workload.target if split == workload.target_split else None
    chart = curve_chart(means, metric, split, axis, view.optimizers, log_x=log_x, log_y=log_y, target=target)
    st.altair_chart(chart, width="stretch")
    notes = [band_caption(log_y)]
    drawn = curves[(curves["metric"] == metric.name) & (curves["split"] == split)]
    if log_y and (drawn["value"] <= 0).any():
        notes.append("Values at or below zero are left out: they have no logarithm.")
    if axis == "work" and len(without := sorted(drawn.loc[drawn["work"].isna(), "optimizer"].unique())):
        notes.append(f"Some trials of {', '.join(without)} are from before work was counted, and are not drawn.")
    if axis == "seconds":
        notes.append(
            "Seconds are training alone, without evaluations and probes. The machine may have done other work at the "
            "time, so they are no benchmark of speed."
        )
    trials = view.seen.trials[
        (view.seen.trials["workload"] == workload.name) & view.seen.trials["optimizer"].isin(chosen)
    ]
    diverged = int((trials["status"] == "diverged").sum())
    if diverged:
        notes.append(f"{count(diverged, 'trial')} diverged: after that the mean is over the other seeds.")
    st.caption(" ".join(notes))
