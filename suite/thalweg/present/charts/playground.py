"""Paths of optimizers on contours, and their losses against steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from thalweg.contracts import Metric
from thalweg.landscape.contours import contour_levels, filled_contours
from thalweg.playground.requests import Ground, Walk
from thalweg.present.charts.axes import Layers, OptimizerScales, legend_height, line_legend, value_axis, value_scale
from thalweg.present.charts.palette import GREY, SEQUENTIAL
from thalweg.present.playground import on_log_scale, path_frame, spans_decades

LEVELS = 14
HEIGHT = 600
"""Pixels of the contours with their title and the legend of the loss."""
FAR = 20.0
"""A path is drawn up to its first point this many widths of the picture away; a browser cannot place farther points."""

DOT_EVERY = 10
"""Steps from dot to dot on a path."""
ROLES = {"start": "square", "end": "diamond", "minimum": "cross"}
"""The shape of each mark."""
_FEW = "datum.value >= 1000 ? format(datum.value, '.2~s') : format(datum.value, '.3~g')"
"""Numbers of a legend in few digits; the format .3~g writes 1000 as 1e+3."""


def contours_of(ground: Ground) -> pd.DataFrame:
    """The filled contours of a function, as vertices of polygons with their level."""
    x, y, z = np.array(ground.x), np.array(ground.y), np.array(ground.losses)
    log = spans_decades(ground.losses)
    levels = contour_levels(z, LEVELS, log)
    if log:
        # a loss of zero has no logarithm, and lies in the lowest region
        polygons = filled_contours(x, y, np.log(np.maximum(z, levels[0])), np.log(levels))
        polygons["level"] = np.exp(polygons["level"])
    else:
        polygons = filled_contours(x, y, z, levels)
    # a thousandth of the picture is as fine as its pixels, and shorter to send to a browser
    digits = 3 - int(np.floor(np.log10(x[-1] - x[0])))
    polygons[["x", "y"]] = polygons[["x", "y"]].round(digits)
    return polygons


def paths_chart(polygons: pd.DataFrame, ground: Ground, walks: Mapping[str, Walk], names: Sequence[str]) -> Layers:
    """Paths on filled contours: squares at starts, diamonds at ends, crosses at known minima.

    Args:
        polygons: ``contours_of`` the ground.
        ground: the function.
        walks: the paths by their optimizers.
        names: the names of the two axes.
    """
    log = spans_decades(ground.losses)
    axes: dict[str, Any] = {
        "x": alt.X("x:Q", title=names[0], scale=alt.Scale(domain=[ground.x[0], ground.x[-1]], nice=False)),
        "y": alt.Y("y:Q", title=names[1], scale=alt.Scale(domain=[ground.y[0], ground.y[-1]], nice=False)),
    }
    levels = sorted(polygons["level"].unique())
    fill = alt.Fill(
        "level:Q",
        title=f"loss ({'log' if log else 'linear'} scale)",
        scale=alt.Scale(
            type="log" if log else "linear",
            scheme=SEQUENTIAL,
            domain=[levels[0], levels[-1] if levels[-1] > levels[0] else levels[0] + 1.0],
        ),
        legend=alt.Legend(
            orient="top", direction="horizontal", gradientLength=240, labelExpr=_FEW, values=levels[:: LEVELS // 3]
        ),
    )
    regions = (
        alt.Chart(polygons)
        .mark_line(filled=True, strokeWidth=0)
        .encode(**axes, fill=fill, detail="polygon:N", order="vertex:Q")
    )
    scales = OptimizerScales(walks, ())
    whole = path_frame(walks)
    whole = whole.assign(color=whole["optimizer"].map(scales.colors))
    path = _drawn(whole, ground)
    legend = line_legend()
    base = alt.Chart(path)
    # white below the coloured line: the colours are made for a plain page, and the contours have every colour
    halo = base.mark_line(stroke="white", strokeWidth=4.5, clip=True).encode(
        **axes, detail="optimizer:N", order="step:Q"
    )
    lines = base.mark_line(strokeWidth=2.5, clip=True).encode(
        **axes,
        order="step:Q",
        stroke=alt.Stroke("optimizer:N", scale=scales.color, legend=legend),
        strokeDash=alt.StrokeDash("optimizer:N", scale=scales.dash, legend=legend),
    )
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("step:Q", format=","),
        *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("x", "y", "loss")),
    ]
    # colours of the data, since a scale of their own would make a second legend
    color = alt.Color("color:N", scale=None)
    dots = alt.Chart(path[path["step"] % DOT_EVERY == 0]).mark_circle(
        size=40, stroke="white", strokeWidth=1, opacity=1, clip=True
    )
    hover = base.mark_circle(size=90, opacity=0, clip=True)
    shape = alt.Shape("role:N", scale=alt.Scale(domain=list(ROLES), range=list(ROLES.values())), legend=None)
    marks = alt.Chart(_marks(whole, ground)).mark_point(
        filled=True, size=120, stroke="black", strokeWidth=1.2, opacity=1, clip=True
    )
    layers: Layers = alt.layer(
        regions,
        halo,
        lines,
        dots.encode(**axes, color=color),
        marks.encode(**axes, shape=shape, color=color, tooltip=["role:N", *tooltip]),
        hover.encode(**axes, tooltip=tooltip),
    ).properties(width="container", height=HEIGHT + legend_height(len(scales.labels)), title=_title(ground))
    return layers


def _title(ground: Ground) -> alt.TitleParams:
    """The title, and what the marks mean."""
    means = ["square: start", "diamond: end", *(["cross: known minimum"] if ground.minimizers else [])]
    about = [", ".join(means), f"dot: every {DOT_EVERY}th step"]
    return alt.TitleParams("Paths of the optimizers", subtitle=about, subtitleColor=GREY)


def losses_chart(walks: Mapping[str, Walk], ground: Ground) -> Layers:
    """The loss at each point of each path against steps; losses above all values of the picture are cut off."""
    log = on_log_scale(walks)
    frame = path_frame(walks)
    frame = frame[np.isfinite(frame["loss"].astype(float)) & ((frame["loss"] > 0) | (not log))]
    scales = OptimizerScales(walks, ())
    legend = line_legend()
    values = np.asarray(ground.losses, dtype=float)
    top = max(float(values[np.isfinite(values)].max()), *(walk.losses[0] for walk in walks.values() if walk.losses))
    shown = frame[frame["loss"] <= top]
    axis = value_axis(Metric("loss", "lower", "log" if log else "linear"))
    if log and (powers := _powers(float(shown["loss"].min()), float(shown["loss"].max()))):
        axis.values = powers
    y = alt.Y("loss:Q", title="loss (log scale)" if log else "loss", axis=axis, scale=value_scale(log))
    lines = (
        alt.Chart(shown)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="steps", axis=alt.Axis(format=",d", tickCount=8, tickMinStep=1)),
            y=y,
            stroke=alt.Stroke("optimizer:N", scale=scales.color, legend=legend),
            strokeDash=alt.StrokeDash("optimizer:N", scale=scales.dash, legend=legend),
            tooltip=[
                alt.Tooltip("optimizer:N"),
                alt.Tooltip("step:Q", format=","),
                alt.Tooltip("loss:Q", format=".4~g"),
            ],
        )
    )
    height = 400 + legend_height(len(scales.labels))
    chart: Layers = alt.layer(lines).properties(width="container", height=height, title="Loss against steps")
    return chart


def _powers(low: float, high: float) -> list[float]:
    """At most eight powers of ten for the ticks of an axis; none where the axis spans less than two decades.

    >>> _powers(0.02, 700.0)
    [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = math.ceil((last - first + 1) / 8)
    return [float(f"1e{power}") for power in range(first, last + 1, every)] if last - first >= 2 else []


def _drawn(path: pd.DataFrame, ground: Ground) -> pd.DataFrame:
    """The points that a browser can place: a path ends at its first far point."""
    reach_x, reach_y = (FAR * (ticks[-1] - ticks[0]) for ticks in (ground.x, ground.y))
    x, y = path["x"].astype(float), path["y"].astype(float)
    far = ~(((x - ground.x[0]).abs() <= reach_x) & ((y - ground.y[0]).abs() <= reach_y))
    return path[~far.groupby(path["optimizer"]).cummax().astype(bool)]


def _marks(path: pd.DataFrame, ground: Ground) -> pd.DataFrame:
    """Starts, ends and known minima."""
    ordered = path.sort_values("step")
    ends = _drawn(ordered.groupby("optimizer", as_index=False).tail(1), ground).assign(role="end")
    starts = ordered[ordered["step"] == 0].head(1).assign(role="start", color="white", optimizer="all")
    minima = pd.DataFrame(
        [
            {"x": x, "y": y, "loss": ground.minimum, "role": "minimum", "color": "white", "optimizer": "none"}
            for x, y in ground.minimizers
        ]
    )
    return pd.concat([part for part in (starts, ends, minima) if len(part)], ignore_index=True)
