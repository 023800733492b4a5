"""The chart below a leaderboard: the mean of each optimizer with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.contracts import Metric
from thalweg.present.charts.axes import (
    Layers,
    OptimizerScales,
    interval_tooltips,
    value_axis,
    value_scale,
    value_title,
)
from thalweg.present.numbers import format_of


def interval_chart(table: pd.DataFrame, metric: Metric, split: str, among: Sequence[str]) -> Layers:
    """The mean with its 95% interval for each optimizer, in the order of the table's rows.

    ``table`` has the columns optimizer, value, low, high. The chart leaves out rows without a value, and draws an
    interval where the row has both ends.
    """
    rows = table.dropna(subset=["value"])
    # the lower end of an interval on logarithms can underflow to zero
    log = metric.scale == "log" and bool((rows[["value", "low"]].fillna(1.0) > 0).all(axis=None))
    labels = list(rows["optimizer"])
    scales = OptimizerScales(labels, among)
    y = alt.Y("optimizer:N", sort=labels, title=None, axis=alt.Axis(labelLimit=140, labelFlush=False))
    color = alt.Color("optimizer:N", scale=scales.color, legend=None)
    scale = value_scale(log, nice=log, padding=12)
    ends = [float(value) for name in ("value", "low", "high") for value in rows[name].dropna()]
    shown = Metric(metric.name, metric.better, "log" if log else "linear", metric.unit)
    axis, title = value_axis(shown, ends), value_title(metric, split, log)
    fmt = format_of(metric.unit).d3
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("value:Q", title=f"mean {metric.name}", format=fmt),
        *interval_tooltips(fmt),
    ]
    bars = (
        alt.Chart(rows.dropna(subset=["low", "high"]))
        .mark_rule(strokeWidth=3)
        .encode(
            x=alt.X("low:Q", scale=scale, axis=axis, title=title),
            x2="high:Q",
            y=y,
            color=color,
            tooltip=tooltip,
        )
    )
    dots = (
        alt.Chart(rows)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=alt.X("value:Q", scale=scale, axis=axis, title=title),
            y=y,
            color=color,
            shape=alt.Shape("optimizer:N", scale=scales.shape, legend=None),
            tooltip=tooltip,
        )
    )
    return alt.layer(*([bars] if len(bars.data) else []), dots).properties(
        width="container", height=90 + 24 * len(rows)
    )
