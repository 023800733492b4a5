"""Learning curves of many trials: a line with a band for each optimizer, or a line for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

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
from thalweg.present.curves import AXES, DIVERGED, SELECTED, ZERO
from thalweg.present.numbers import format_of

SHAPES = {DIVERGED: "cross", SELECTED: "circle", ZERO: "triangle-down"}
"""The shapes of the marks on curves."""


@dataclass(frozen=True)
class Axes:
    """The horizontal axis of curves, and the scales of both axes."""

    axis: str = "step"
    """A key of ``AXES``."""
    log_x: bool = False
    log_y: bool = False
    domain: tuple[float, float] | None = None
    """The part of the horizontal axis that is drawn; None for all of it."""


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
    domain: tuple[float, float] | None = None,
    marks: pd.DataFrame | None = None,
    of: Mapping[str, str] = MappingProxyType({}),
) -> Layers:
    """Curves with a band for each optimizer (see ``mean_curves``), and the target as a dashed line.

    A log axis leaves out points at or below zero. A click on the legend picks an optimizer out. A table with a column
    ``seed`` has a line for each seed. ``marks`` are those of ``thalweg.present.curves.marks``. ``of`` gives the
    optimizers of labels that are none, such as trials.
    """
    rows = means[(means[axis] > 0) | (not log_x)]
    rows = rows[(rows["low"] > 0) | (not log_y)]
    # an optimizer whose values are all zero has marks alone
    marked = [] if marks is None else list(marks["optimizer"])
    scales = OptimizerScales([*rows["optimizer"], *marked], among, of)
    axes = Axes(axis, log_x, log_y, domain)
    x = _horizontal(axes)
    y = _vertical(metric, split, log_y, rows)
    # labels of trials and sides are longer than those of optimizers
    columns = 1 if of else 2
    legend = line_legend(columns)
    fmt = format_of(metric.unit).d3
    single = "seed" in rows
    # a plot that shows all needs no edge, which would cut a line at the top in half
    cut = domain is not None
    chosen = alt.selection_point(fields=["optimizer"], bind="legend")
    lit = alt.condition(chosen, alt.value(1.0), alt.value(0.12))
    # the band's colours are a column of the data, since a second scale would make a second legend
    base = alt.Chart(rows.assign(color=rows["optimizer"].map(scales.colors)))
    band = base.mark_area(clip=cut).encode(
        x=x,
        y=y("low"),
        y2="high:Q",
        detail="optimizer:N",
        fill=alt.Fill("color:N", scale=None),
        opacity=alt.condition(chosen, alt.value(0.15), alt.value(0.03)),
    )
    lines = base.mark_line(strokeWidth=1 if single else 2, clip=cut).encode(
        x=x,
        y=y("value"),
        stroke=alt.Stroke("optimizer:N", scale=scales.color, legend=legend),
        strokeDash=alt.StrokeDash("optimizer:N", scale=scales.dash, legend=legend),
        opacity=lit,
        detail=["seed:N"] if single else [],
        tooltip=[
            alt.Tooltip("optimizer:N"),
            alt.Tooltip(f"{axis}:Q", title=AXES[axis], format=",.4~g"),
            alt.Tooltip("value:Q", title=metric.name if single else f"mean {metric.name}", format=fmt),
            *([alt.Tooltip("seed:Q")] if single else [*interval_tooltips(fmt, ("smallest", "largest")), "seeds:Q"]),
        ],
    )
    layers: list[alt.Chart] = [*([] if single else [band]), lines.add_params(chosen)]
    if marks is not None and len(marks):
        layers += _marks(marks, metric, axes, y, scales)
    if target is not None and target.metric == metric.name and (target.value > 0 or not log_y):
        layers += _target(target.value, metric)
    return alt.layer(*layers).properties(width="container", height=380 + legend_height(len(scales.labels), columns))


def _horizontal(axes: Axes) -> alt.X:
    settings: dict[str, Any] = {} if axes.domain is None else {"domain": list(axes.domain)}
    return alt.X(
        f"{axes.axis}:Q",
        title=AXES[axes.axis] + (" (log scale)" if axes.log_x else ""),
        scale=value_scale(axes.log_x, nice=False, **settings),
        axis=alt.Axis(format=",.4~r" if axes.axis in ("epoch", "seconds") else ",d", tickCount=8),
    )


def _vertical(metric: Metric, split: str, log: bool, rows: pd.DataFrame) -> Any:
    shown = Metric(metric.name, metric.better, "log" if log else "linear", metric.unit)
    scale, axis, title = (
        value_scale(log),
        value_axis(shown, [*rows["low"], *rows["high"]]),
        value_title(metric, split, log),
    )
    return lambda column: alt.Y(f"{column}:Q", scale=scale, axis=axis, title=title)


def _marks(marks: pd.DataFrame, metric: Metric, axes: Axes, y: Any, scales: OptimizerScales) -> list[alt.Chart]:
    """Points at the ends of trials that diverged and at selected steps; zeros on a log axis lie at its foot."""
    rows = marks[marks["optimizer"].isin(scales.labels) & ((marks[axes.axis] > 0) | (not axes.log_x))]
    rows = rows.assign(color=rows["optimizer"].map(scales.colors))
    layers = []
    for what, shape in SHAPES.items():
        part = rows[rows["what"] == what]
        if part.empty:
            continue
        zero = what == ZERO
        points = alt.Chart(part).mark_point(
            shape=shape,
            size=60,
            filled=True,
            angle=45 if what == DIVERGED else 0,
            opacity=0.9,
            clip=axes.domain is not None and not zero,
            yOffset=-5 if zero else 0,
        )
        layers.append(
            points.encode(
                x=_horizontal(axes),
                y=alt.value("height") if zero else y("value"),
                # a second scale would make a second legend
                fill=alt.Fill("color:N", scale=None),
                tooltip=[
                    alt.Tooltip("what:N", title="mark"),
                    "optimizer:N",
                    "seed:Q",
                    alt.Tooltip(f"{axes.axis}:Q", title=AXES[axes.axis], format=",.4~g"),
                    alt.Tooltip("value:Q", title=metric.name, format=format_of(metric.unit).d3),
                ],
            )
        )
    return layers


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
