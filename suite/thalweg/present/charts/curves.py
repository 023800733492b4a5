"""Learning curves of many trials: a line with a band for each optimizer."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.present.charts.axes import (
    Layers,
    OptimizerScales,
    interval_tooltips,
    legend_height,
    line_legend,
    value_axis,
    value_scale,
    value_title,
)
from thalweg.present.charts.palette import GREY
from thalweg.present.curves import AXES
from thalweg.present.numbers import format_of


def curve_chart(
    means: pd.DataFrame,
    metric: Metric,
    split: str,
    axis: str,
    among: Sequence[str],
    *,
    log_x: bool = False,
    log_y: bool = False,
    target: Target | None = None,
) -> Layers:
    """Mean curves with a band for each optimizer (see ``mean_curves``), and the target as a dashed line.

    A log axis leaves out points at or below zero.
    """
    rows = means[(means[axis] > 0) | (not log_x)]
    rows = rows[(rows["low"] > 0) | (not log_y)]
    scales = OptimizerScales(rows["optimizer"], among)
    x = alt.X(
        f"{axis}:Q",
        title=AXES[axis] + (" (log scale)" if log_x else ""),
        scale=value_scale(log_x, nice=False),
        axis=alt.Axis(format=",.4~r" if axis in ("epoch", "seconds") else ",d", tickCount=8),
    )
    shown = Metric(metric.name, metric.better, "log" if log_y else "linear", metric.unit)
    y_scale = value_scale(log_y)
    y_axis = value_axis(shown)
    legend = line_legend()
    fmt = format_of(metric.unit).d3
    # the band's colours are a column of the data, since a second scale would make a second legend
    base = alt.Chart(rows.assign(color=rows["optimizer"].map(scales.colors)))
    band = base.mark_area(opacity=0.15).encode(
        x=x,
        y=alt.Y("low:Q", scale=y_scale, axis=y_axis, title=value_title(metric, split, log_y)),
        y2="high:Q",
        detail="optimizer:N",
        fill=alt.Fill("color:N", scale=None),
    )
    lines = base.mark_line(strokeWidth=2).encode(
        x=x,
        y=alt.Y("value:Q", scale=y_scale, axis=y_axis, title=value_title(metric, split, log_y)),
        stroke=alt.Stroke("optimizer:N", scale=scales.color, legend=legend),
        strokeDash=alt.StrokeDash("optimizer:N", scale=scales.dash, legend=legend),
        tooltip=[
            alt.Tooltip("optimizer:N"),
            alt.Tooltip(f"{axis}:Q", title=AXES[axis], format=",.4~g"),
            alt.Tooltip("value:Q", title=f"mean {metric.name}", format=fmt),
            *interval_tooltips(fmt, ("smallest", "largest")),
            alt.Tooltip("seeds:Q"),
        ],
    )
    layers: list[alt.Chart] = [band, lines]
    if target is not None and target.metric == metric.name and (target.value > 0 or not log_y):
        layers += _target(target.value, metric)
    return alt.layer(*layers).properties(width="container", height=380 + legend_height(len(scales.labels)))


def _target(value: float, metric: Metric) -> list[alt.Chart]:
    label = f"target {100 * value:g}%" if metric.unit == "%" else f"target {value:g}"
    base = alt.Chart(pd.DataFrame({"target": [value], "label": [label]}))
    rule = base.mark_rule(strokeDash=[6, 4], color=GREY, strokeWidth=1.5).encode(y="target:Q", tooltip=["label:N"])
    # the label lies at the right, on the side that curves come from
    above = metric.better == "lower"
    text = base.mark_text(
        align="right", baseline="bottom" if above else "top", dx=-4, dy=-4 if above else 4, color=GREY
    )
    text = text.encode(x=alt.value("width"), y="target:Q", text="label:N")
    return [rule, text]
