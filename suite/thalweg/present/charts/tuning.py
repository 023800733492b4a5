"""Charts of tuning: how sensitive each optimizer is to its rate, and what more tries are worth."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.contracts import Metric
from thalweg.present.charts.curves import GREY, Layers, legend_height, number_format, point_legend, style


def sensitivity_chart(tried: pd.DataFrame, metric: Metric, split: str, among: Sequence[str]) -> Layers:
    """The value of each learning rate that was tried, a line an optimizer; large points are those selected.

    Crosses at the bottom are rates whose training diverged or failed. ``tried`` has the columns optimizer, lr, value,
    status, selected (see ``thalweg.tuning.outcome.COLUMNS``); one metric's values.
    """
    log = metric.scale == "log" and bool((tried["value"].dropna() > 0).all())
    ended = tried[tried["value"].notna()]
    lost = tried[tried["status"].isin(["diverged", "failed"])]
    domain, colors, dashes, shapes = style(sorted(tried["optimizer"].unique()), among)
    legend = point_legend()
    color = alt.Color("optimizer:N", scale=alt.Scale(domain=domain, range=colors), legend=legend)
    x = alt.X(
        "lr:Q", scale=alt.Scale(type="log", nice=False, padding=12), title="learning rate (log scale)",
        axis=alt.Axis(format=".0~e", tickCount=8, grid=False),
    )  # fmt: skip
    better = "lower" if metric.better == "lower" else "higher"
    title = f"best {split} {metric.name} ({better} is better{', log scale' if log else ''})"
    axis = alt.Axis(format="~%", tickCount=8) if metric.unit == "%" else alt.Axis(format=".3~g", tickCount=6)
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    y = alt.Y("value:Q", title=title, axis=axis, scale=scale)
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("lr:Q", title="learning rate", format=".3~g"),
        alt.Tooltip("value:Q", title=f"{split} {metric.name}", format=number_format(metric)),
        alt.Tooltip("status:N"),
        alt.Tooltip("selected:N", title="best for a budget of"),
    ]
    base = alt.Chart(ended)
    lines = base.mark_line(strokeWidth=1.5).encode(
        x=x, y=y, color=color,
        strokeDash=alt.StrokeDash("optimizer:N", scale=alt.Scale(domain=domain, range=dashes), legend=legend),
    )  # fmt: skip
    shape = alt.Shape("optimizer:N", scale=alt.Scale(domain=domain, range=shapes), legend=legend)
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
    return alt.layer(*layers).properties(width="container", height=400 + legend_height(len(domain)))


def budget_chart(boards: pd.DataFrame, metric: Metric, split: str, among: Sequence[str]) -> Layers:
    """The leaderboard's value for each tuning budget, with its 95% interval (Sivaprasad et al. 2020).

    ``boards`` has the columns optimizer, budget, value, low, high.
    """
    rows = boards.dropna(subset=["value"])
    domain, colors, _, shapes = style(sorted(rows["optimizer"].unique()), among)
    legend = point_legend()
    color = alt.Color("optimizer:N", scale=alt.Scale(domain=domain, range=colors), legend=legend)
    x = alt.X("budget:O", title="tuning budget (settings, before an extension)", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("optimizer:N", sort=domain)
    log = metric.scale == "log" and bool((rows["value"] > 0).all())
    axis = alt.Axis(format="~%", tickCount=8) if metric.unit == "%" else alt.Axis(format=".3~g", tickCount=6)
    better = "lower" if metric.better == "lower" else "higher"
    y = alt.Y(
        "value:Q", title=f"{split} {metric.name} ({better} is better{', log scale' if log else ''})",
        scale=alt.Scale(type="log") if log else alt.Scale(zero=False), axis=axis,
    )  # fmt: skip
    fmt = number_format(metric)
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("budget:O", title="settings tried"),
        alt.Tooltip("value:Q", title=f"mean {split} {metric.name}", format=fmt),
        alt.Tooltip("low:Q", title="95% interval from", format=fmt),
        alt.Tooltip("high:Q", title="to", format=fmt),
    ]
    base = alt.Chart(rows)
    rules = base.mark_rule(strokeWidth=2).encode(
        x=x, xOffset=offset, y=alt.Y("low:Q", title=""), y2="high:Q", color=color
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=x, xOffset=offset, y=y, color=color, tooltip=tooltip,
        shape=alt.Shape("optimizer:N", scale=alt.Scale(domain=domain, range=shapes), legend=legend),
    )  # fmt: skip
    return alt.layer(points, rules).properties(width="container", height=330 + legend_height(len(domain)))
