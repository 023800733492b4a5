"""The two kinds of pictures that most claims need: curves, and values of settings."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.present.charts.axes import Layers, legend_height, line_legend, point_legend
from thalweg.present.charts.palette import GREY, category_styles, optimizer_styles

HEIGHT = 260


def of(table: pd.DataFrame, *quantities: str, curve: bool = False) -> pd.DataFrame:
    """The rows of some quantities that have a value: the points of curves, or the values that decide."""
    rows = table[table["quantity"].isin(quantities) & table["value"].notna()]
    return rows[rows["x"].notna() if curve else rows["x"].isna()]


def curves(
    rows: pd.DataFrame,
    title: str,
    x: str,
    y: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    optimizers: bool = False,
    order: Sequence[str] = (),
    bands: bool = True,
    level: float | None = None,
) -> Layers:
    """The median of each series over seeds against ``x``, with the range of the seeds as a band.

    Args:
        rows: measurements with an ``x``, of one setting.
        title: the title of the chart.
        x: the title of the horizontal axis, with its unit.
        y: the title of the vertical axis, with its unit.
        log_x: whether the horizontal axis is logarithmic.
        log_y: whether the vertical axis is logarithmic; values that are not positive are left out.
        optimizers: whether the series are optimizers, which have fixed colours.
        order: the series in the order of the legend.
        bands: whether to draw the ranges.
        level: a value at which to draw a horizontal line.
    """
    if log_y:
        rows = rows[rows["value"] > 0]
    names = [name for name in order if name in set(rows["series"])] or list(dict.fromkeys(rows["series"]))
    styles = optimizer_styles(names) if optimizers else category_styles(names)
    colors = alt.Scale(domain=names, range=[styles[name].color for name in names])
    dashes = alt.Scale(domain=names, range=[list(styles[name].dash) for name in names])
    legend = line_legend() if len(names) > 1 else None
    frame = rows.groupby(["series", "x"], sort=True)["value"].agg(["median", "min", "max"]).reset_index()
    scale_x = alt.Scale(type="log") if log_x else alt.Scale(zero=False, nice=False)
    scale_y = alt.Scale(type="log") if log_y else alt.Scale(zero=False)
    axis_x = alt.X("x:Q", title=x, scale=scale_x, axis=_axis(log_x))
    axis_y = _axis(log_y)
    line = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2)
        .encode(
            x=axis_x,
            y=alt.Y("median:Q", title=y, scale=scale_y, axis=axis_y),
            color=alt.Color("series:N", scale=colors, legend=legend),
            strokeDash=alt.StrokeDash("series:N", scale=dashes, legend=legend),
            tooltip=[
                alt.Tooltip("series:N"),
                alt.Tooltip("x:Q", title=x),
                alt.Tooltip("median:Q", title=y, format=".4~g"),
            ],
        )
    )
    layers: list[alt.Chart] = [line]
    if bands and len(set(rows["seed"])) > 1:
        band = (
            alt.Chart(frame)
            .mark_area(opacity=0.18)
            .encode(
                x=axis_x,
                y=alt.Y("min:Q", title=y, scale=scale_y, axis=axis_y),
                y2="max:Q",
                color=alt.Color("series:N", scale=colors, legend=legend),
            )
        )
        layers = [band, line]
    if level is not None:
        rule = alt.Chart(pd.DataFrame({"level": [level]})).mark_rule(strokeDash=[5, 4], color=GREY)
        layers.append(rule.encode(y=alt.Y("level:Q", scale=scale_y)))
    height = HEIGHT + (legend_height(len(names)) if len(names) > 1 else 0)
    return alt.layer(*layers).properties(title=title, width="container", height=height)


def _axis(log: bool) -> alt.Axis:
    # Vega takes the precision of ~g from the ticks, and writes 10 as 1e+1 on a linear axis
    return alt.Axis(tickCount=6, format="~g") if log else alt.Axis(tickCount=6)


def dots(
    rows: pd.DataFrame,
    title: str,
    x: str,
    *,
    by: str = "setting",
    log: bool = False,
    optimizers: bool = False,
    bounds: Sequence[float] = (),
) -> Layers:
    """The value of each seed as a point, a row for each setting (or quantity), coloured by series.

    Args:
        rows: measurements without an ``x``.
        title: the title of the chart.
        x: the title of the axis of values, with its unit.
        by: the column that names the rows: setting, series or quantity.
        log: whether the axis of values is logarithmic; values that are not positive are left out.
        optimizers: whether the series are optimizers, which have fixed colours.
        bounds: values at which to draw a line, such as the rule's bound.
    """
    if log:
        rows = rows[rows["value"] > 0]
    names = list(dict.fromkeys(rows["series"]))
    styles = optimizer_styles(names) if optimizers else category_styles(names)
    several = len(names) > 1
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False, padding=10)
    labels = list(dict.fromkeys(rows[by]))
    points = (
        alt.Chart(rows)
        .mark_point(filled=True, size=70, opacity=0.8)
        .encode(
            x=alt.X("value:Q", title=x, scale=scale, axis=_axis(log)),
            y=alt.Y(f"{by}:N", title=None, sort=labels, axis=alt.Axis(labelLimit=180)),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=names, range=[styles[name].color for name in names]),
                legend=point_legend() if several else None,
            ),
            shape=alt.Shape(
                "series:N",
                scale=alt.Scale(domain=names, range=[styles[name].shape for name in names]),
                legend=point_legend() if several else None,
            ),
            tooltip=["series:N", f"{by}:N", "seed:Q", alt.Tooltip("value:Q", format=".4~g")],
        )
    )
    layers: list[alt.Chart] = [points]
    if bounds:
        rule = alt.Chart(pd.DataFrame({"bound": list(bounds)})).mark_rule(strokeDash=[5, 4], color=GREY)
        layers.append(rule.encode(x=alt.X("bound:Q", scale=scale)))
    height = 34 * max(len(labels), 2) + (legend_height(len(names)) if several else 0)
    return alt.layer(*layers).properties(title=title, width="container", height=height)
