"""Charts of tuning: how sensitive each optimizer is to its learning rate, and what a larger budget gains."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.contracts import Metric
from thalweg.present.charts.axes import (
    Layers,
    OptimizerScales,
    interval_tooltips,
    legend_height,
    point_legend,
    value_scale,
)
from thalweg.present.charts.palette import GREY
from thalweg.present.numbers import format_of


def sensitivity_chart(tried: pd.DataFrame, metric: Metric, split: str, among: Sequence[str]) -> Layers:
    """One line an optimizer: the best value that each learning rate gave. Large points are the selected rates.

    Crosses at the bottom mark rates whose training diverged or failed. ``tried`` has the columns optimizer, lr, value,
    status, selected (see ``thalweg.tuning.outcome.COLUMNS``), with the values of one metric.
    """
    log = metric.scale == "log" and bool((tried["value"].dropna() > 0).all())
    ended = tried[tried["value"].notna()]
    lost = tried[tried["status"].isin(["diverged", "failed"])]
    scales = OptimizerScales(tried["optimizer"], among)
    legend = point_legend()
    color = alt.Color("optimizer:N", scale=scales.color, legend=legend)
    x = alt.X(
        "lr:Q", scale=alt.Scale(type="log", nice=False, padding=12), title="learning rate (log scale)",
        axis=alt.Axis(format=".0~e", tickCount=8, grid=False),
    )  # fmt: skip
    y = _value(metric, f"best {split}", log)
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("lr:Q", title="learning rate", format=".3~g"),
        alt.Tooltip("value:Q", title=f"{split} {metric.name}", format=format_of(metric.unit).d3),
        alt.Tooltip("status:N"),
        alt.Tooltip("selected:N", title="best for a budget of"),
    ]
    base = alt.Chart(ended)
    lines = base.mark_line(strokeWidth=1.5).encode(
        x=x, y=y, color=color,
        strokeDash=alt.StrokeDash("optimizer:N", scale=scales.dash, legend=legend),
    )  # fmt: skip
    shape = alt.Shape("optimizer:N", scale=scales.shape, legend=legend)
    points = base.mark_point(filled=True, size=35, opacity=0.9).encode(
        x=x, y=y, color=color, shape=shape, tooltip=tooltip
    )
    chosen = (
        alt.Chart(ended[ended["selected"] != ""])
        .mark_point(filled=True, size=170, opacity=1, stroke=GREY, strokeWidth=1.5)
        .encode(x=x, y=y, color=color, shape=shape, tooltip=tooltip)
    )
    crosses = (
        alt.Chart(lost)
        .mark_point(shape="M-1,-1L1,1M-1,1L1,-1", size=60, strokeWidth=1.5, filled=False, yOffset=-7)
        .encode(x=x, y=alt.value("height"), color=color, tooltip=tooltip)
    )
    layers = [lines, points, chosen] + ([crosses] if len(lost) else [])
    return alt.layer(*layers).properties(width="container", height=400 + legend_height(len(scales.labels)))


def budget_chart(boards: pd.DataFrame, metric: Metric, split: str, among: Sequence[str]) -> Layers:
    """The leaderboard's value for each tuning budget, with its 95% interval (Sivaprasad et al. 2020).

    ``boards`` has the columns optimizer, budget, value, low, high.
    """
    rows = boards.dropna(subset=["value"])
    scales = OptimizerScales(rows["optimizer"], among)
    legend = point_legend()
    color = alt.Color("optimizer:N", scale=scales.color, legend=legend)
    x = alt.X("budget:O", title="tuning budget (settings, before an extension)", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("optimizer:N", sort=scales.labels)
    log = metric.scale == "log" and bool((rows["value"] > 0).all())
    y = _value(metric, split, log)
    fmt = format_of(metric.unit).d3
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("budget:O", title="settings tried"),
        alt.Tooltip("value:Q", title=f"mean {split} {metric.name}", format=fmt),
        *interval_tooltips(fmt),
    ]
    base = alt.Chart(rows)
    rules = base.mark_rule(strokeWidth=2).encode(
        x=x, xOffset=offset, y=alt.Y("low:Q", title=""), y2="high:Q", color=color
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=x, xOffset=offset, y=y, color=color, tooltip=tooltip,
        shape=alt.Shape("optimizer:N", scale=scales.shape, legend=legend),
    )  # fmt: skip
    return alt.layer(points, rules).properties(width="container", height=330 + legend_height(len(scales.labels)))


def _value(metric: Metric, split: str, log: bool) -> alt.Y:
    title = f"{split} {metric.name} ({metric.better} is better{', log scale' if log else ''})"
    axis = alt.Axis(format="~%", tickCount=8) if metric.unit == "%" else alt.Axis(format=".3~g", tickCount=6)
    return alt.Y("value:Q", title=title, axis=axis, scale=value_scale(log))
