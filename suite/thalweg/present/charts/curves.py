"""Charts: DataFrame in, Altair chart out. Every optimizer keeps its colour and dash on all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.present.curves import AXES

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#B5A800")
"""Okabe and Ito's colours, which the colour-blind can tell apart. Grey stands in for black, which a dark page swallows,
and a darker yellow for theirs, which a white page does."""

DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 3], [6, 2, 2, 2, 2, 2])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
Layers = alt.LayerChart | alt.FacetChart
"""What Altair calls the type of layers with properties."""

GREY = "#888888"
"""Readable on a light and on a dark page."""


def style(labels: Sequence[str], among: Sequence[str]) -> tuple[list[str], list[str], list[list[int]], list[str]]:
    """Domain, colours, dashes and shapes of ``labels``, given by their places in the sorted list ``among``.

    Colours repeat after 8, dashes and shapes after 7, so that a colour and a dash together repeat after 56.
    """
    order = {label: place for place, label in enumerate(among)}
    domain = sorted(labels, key=order.__getitem__)
    places = [order[label] for label in domain]
    return (
        domain,
        [PALETTE[place % len(PALETTE)] for place in places],
        [DASHES[place % len(DASHES)] for place in places],
        [SHAPES[place % len(SHAPES)] for place in places],
    )


def line_legend() -> alt.Legend:
    """A legend of lines that fits on a phone; it takes ``legend_height``."""
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=2,
        symbolType="stroke",
        symbolStrokeWidth=2.5,
        symbolSize=500,
        labelLimit=140,
    )


def point_legend() -> alt.Legend:
    """The same of points."""
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=2,
        symbolSize=90,
        symbolOpacity=1,
        symbolStrokeWidth=0,
        labelLimit=140,
    )


def legend_height(entries: int) -> int:
    """Pixels."""
    return 24 * math.ceil(entries / 2)


def number_format(metric: Metric) -> str:
    """The d3 format of a metric's values: fractions with unit % in percent."""
    return ".1%" if metric.unit == "%" else ".4~g"


def _scale(log: bool, **settings: Any) -> alt.Scale:
    # a log scale has no zero, and Vega says so on the console when it is told to leave it out
    return alt.Scale(type="log", **settings) if log else alt.Scale(zero=False, **settings)


def _axis(metric: Metric) -> alt.Axis:
    if metric.unit == "%":
        return alt.Axis(format="~%", tickCount=8)
    if metric.unit == "bytes":
        return alt.Axis(format="~s", tickCount=6)
    # a thousand in three digits would be 1e+3
    few = "datum.value >= 1000 ? format(datum.value, '~s') : format(datum.value, '.3~g')"
    return alt.Axis(labelExpr=few, tickCount=6)


def _title(metric: Metric, split: str, log: bool) -> str:
    notes = [note for note in (split, "log scale" if log else "") if note]
    name = metric.name.replace("_", " ")
    return f"{name} ({', '.join(notes)})" if notes else name


def interval_chart(table: pd.DataFrame, metric: Metric, split: str, among: Sequence[str]) -> Layers:
    """The mean with its 95% interval for each optimizer, in the order of the table's rows.

    ``table`` has the columns optimizer, value, low, high; rows without a value are left out, an interval is drawn where
    there is one.
    """
    rows = table.dropna(subset=["value"])
    # an interval may end at what is too small a number to be one
    log = metric.scale == "log" and bool((rows[["value", "low"]].fillna(1.0) > 0).all(axis=None))
    domain, colors, _, shapes = style(list(rows["optimizer"]), among)
    y = alt.Y("optimizer:N", sort=list(rows["optimizer"]), title=None, axis=alt.Axis(labelLimit=140, labelFlush=False))
    color = alt.Color("optimizer:N", scale=alt.Scale(domain=domain, range=colors), legend=None)
    scale = _scale(log, nice=log, padding=12)
    fmt = number_format(metric)
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("value:Q", title=f"mean {metric.name}", format=fmt),
        alt.Tooltip("low:Q", title="95% interval from", format=fmt),
        alt.Tooltip("high:Q", title="to", format=fmt),
    ]
    base = alt.Chart(rows)
    bars = (
        alt.Chart(rows.dropna(subset=["low", "high"]))
        .mark_rule(strokeWidth=3)
        .encode(
            x=alt.X("low:Q", scale=scale, axis=_axis(metric), title=_title(metric, split, log)),
            x2="high:Q",
            y=y,
            color=color,
            tooltip=tooltip,
        )
    )
    dots = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, axis=_axis(metric), title=_title(metric, split, log)),
        y=y,
        color=color,
        shape=alt.Shape("optimizer:N", scale=alt.Scale(domain=domain, range=shapes), legend=None),
        tooltip=tooltip,
    )
    return alt.layer(*([bars] if len(bars.data) else []), dots).properties(
        width="container", height=90 + 24 * len(rows)
    )


def curve_chart(
    means: pd.DataFrame,
    metric: Metric,
    split: str,
    axis: str,
    among: Sequence[str],
    log_x: bool,
    log_y: bool,
    target: Target | None,
) -> Layers:
    """Mean curves with a band for each optimizer (see ``mean_curves``), and the target as a dashed line.

    On a log axis the points at or below zero are left out.
    """
    rows = means[(means[axis] > 0) | (not log_x)]
    rows = rows[(rows["low"] > 0) | (not log_y)]
    domain, colors, dashes, _ = style(sorted(set(rows["optimizer"])), among)
    x = alt.X(
        f"{axis}:Q",
        title=AXES[axis] + (" (log scale)" if log_x else ""),
        scale=_scale(log_x, nice=False),
        axis=alt.Axis(format=",.4~r" if axis in ("epoch", "seconds") else ",d", tickCount=8),
    )
    shown = Metric(metric.name, metric.better, "log" if log_y else "linear", metric.unit)
    y_scale = _scale(log_y)
    y_axis = _axis(shown)
    legend = line_legend()
    fmt = number_format(metric)
    # colours as they are: a second scale would make a second legend
    base = alt.Chart(rows.assign(color=rows["optimizer"].map(dict(zip(domain, colors, strict=True)))))
    band = base.mark_area(opacity=0.15).encode(
        x=x,
        y=alt.Y("low:Q", scale=y_scale, axis=y_axis, title=_title(metric, split, log_y)),
        y2="high:Q",
        detail="optimizer:N",
        fill=alt.Fill("color:N", scale=None),
    )
    lines = base.mark_line(strokeWidth=2).encode(
        x=x,
        y=alt.Y("value:Q", scale=y_scale, axis=y_axis, title=_title(metric, split, log_y)),
        stroke=alt.Stroke("optimizer:N", scale=alt.Scale(domain=domain, range=colors), legend=legend),
        strokeDash=alt.StrokeDash("optimizer:N", scale=alt.Scale(domain=domain, range=dashes), legend=legend),
        tooltip=[
            alt.Tooltip("optimizer:N"),
            alt.Tooltip(f"{axis}:Q", title=AXES[axis], format=",.4~g"),
            alt.Tooltip("value:Q", title=f"mean {metric.name}", format=fmt),
            alt.Tooltip("low:Q", title="smallest", format=fmt),
            alt.Tooltip("high:Q", title="largest", format=fmt),
            alt.Tooltip("seeds:Q"),
        ],
    )
    layers: list[alt.Chart] = [band, lines]
    if target is not None and target.metric == metric.name and (target.value > 0 or not log_y):
        layers += _target(target.value, metric)
    return alt.layer(*layers).properties(width="container", height=380 + legend_height(len(domain)))


def _target(value: float, metric: Metric) -> list[alt.Chart]:
    label = f"target {100 * value:g}%" if metric.unit == "%" else f"target {value:g}"
    base = alt.Chart(pd.DataFrame({"target": [value], "label": [label]}))
    rule = base.mark_rule(strokeDash=[6, 4], color=GREY, strokeWidth=1.5).encode(y="target:Q", tooltip=["label:N"])
    # at the right, on the side that curves come from
    above = metric.better == "lower"
    text = base.mark_text(
        align="right", baseline="bottom" if above else "top", dx=-4, dy=-4 if above else 4, color=GREY
    )
    text = text.encode(x=alt.value("width"), y="target:Q", text="label:N")
    return [rule, text]


def trial_chart(curve: pd.DataFrame, metric: Metric, selected_step: int | None) -> Layers:
    """One trial's curve of a metric: a line for each split, points for test, and the selected step as a dotted line."""
    rows = curve[(curve["metric"] == metric.name) & curve["value"].notna()]
    log = metric.scale == "log" and bool((rows["value"] > 0).all())
    splits = ["train", "valid", "test", "optimizer"]
    domain = [split for split in splits if split in set(rows["split"])]
    places = [splits.index(split) for split in domain]
    color = alt.Color(
        "split:N",
        title=None,
        scale=alt.Scale(domain=domain, range=[PALETTE[place] for place in places]),
        legend=alt.Legend(orient="bottom", symbolSize=80),
    )
    encodings = {
        "x": alt.X("step:Q", title="steps", axis=alt.Axis(format="~s", tickCount=8)),
        "y": alt.Y(
            "value:Q",
            title=_title(metric, "", log),
            axis=_axis(Metric(metric.name, metric.better, "log" if log else "linear", metric.unit)),
            scale=_scale(log),
        ),
        "color": color,
        "tooltip": [
            alt.Tooltip("split:N"),
            alt.Tooltip("step:Q", format=","),
            alt.Tooltip("value:Q", title=metric.name, format=number_format(metric)),
        ],
    }
    layers: list[alt.Chart] = [
        alt.Chart(rows[rows["split"] != "test"]).mark_line(strokeWidth=2).encode(**encodings),
        alt.Chart(rows[rows["split"] == "test"]).mark_point(filled=True, size=90, opacity=1).encode(**encodings),
    ]
    if selected_step is not None:
        rule = alt.Chart(pd.DataFrame({"step": [selected_step], "what": ["selected by validation"]}))
        layers.append(rule.mark_rule(strokeDash=[2, 3], color=GREY).encode(x="step:Q", tooltip=["what:N", "step:Q"]))
    return alt.layer(*layers).properties(width="container", height=320)
