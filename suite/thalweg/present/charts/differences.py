"""The differences of a comparison with their intervals, against the margin and zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from thalweg.present.charts.axes import Layers
from thalweg.present.charts.palette import BLUE, GREEN, GREY, SILVER, VERMILION
from thalweg.present.verdicts import cells

_COLORS = {"worse": VERMILION, "undecided": SILVER, "better": GREEN, "same": BLUE}
_SHAPES = {"worse": "diamond", "undecided": "square", "better": "triangle-up", "same": "circle"}
# a ratio of more than ten reads better as a factor, as in the table
_RATIO = (
    "datum.value >= 11 ? format(datum.value, '~s') + ' times'"
    " : datum.value < 0.01 ? format(datum.value, '.1~g') + ' times'"
    " : datum.value == 1 ? '0%' : format(datum.value - 1, '+.3~%')"
)


def difference_chart(rows: Sequence[Mapping[str, Any]], unit: str, among: int, name: str) -> Layers | None:
    """Candidate minus baseline for each row of one metric, with its interval; None where nothing was compared.

    A grey band on each row spans the differences within the margin. Where ratios were tested, the axis is that of the
    ratio, logarithmic, with labels of the relative difference. An arrow stands at the edge of the chart where an
    interval goes on beyond it, as an infinite one does.

    Args:
        rows: rows of ``thalweg.scoring.compare.compare``, all of one metric, and all ratios or none (``is_ratio``).
        unit: the metric's unit.
        among: the number of pairs of optimizers in the comparison; names of rows hold the optimizer where there are
            several.
        name: the metric's name in the title.
    """
    frame = pd.DataFrame([_row(row, unit, among) for row in rows if row["verdict"] in _COLORS])
    if frame.empty:
        return None
    ratio = all(is_ratio(row) for row in rows)
    ends = ["difference", "low", "high", "margin_low", "margin_high"]
    numbers = 1 + frame[ends] if ratio else frame[ends]
    numbers = numbers.where(numbers > 0, -math.inf) if ratio else numbers
    low, high = _domain(numbers, ratio)
    frame["left"], frame["right"] = numbers["low"] < low, numbers["high"] > high
    # an infinite difference is no point
    frame["point"] = numbers["difference"].where(numbers["difference"].between(low, high))
    frame[ends] = numbers.clip(low, high)
    scale = (
        alt.Scale(type="log", domain=[low, high], nice=False) if ratio else alt.Scale(domain=[low, high], nice=False)
    )
    x = alt.X("low:Q", scale=scale, title=_title(frame, unit), axis=_axis(frame, ratio, unit))
    y = alt.Y("row:N", sort=list(frame["row"]), title=None, axis=alt.Axis(labelLimit=150, labelOverlap=False))
    there = [verdict for verdict in _COLORS if verdict in set(frame["verdict"])]
    legend = alt.Legend(title=None, orient="bottom", symbolOpacity=1, symbolStrokeWidth=0)
    color = alt.Color(
        "verdict:N", scale=alt.Scale(domain=there, range=[_COLORS[name] for name in there]), legend=legend
    )
    shape = alt.Shape(
        "verdict:N", scale=alt.Scale(domain=there, range=[_SHAPES[name] for name in there]), legend=legend
    )
    tooltip = [
        alt.Tooltip("row:N", title="what"),
        *("verdict:N", "seeds:Q", alt.Tooltip("shown:N", title="difference"), "interval:N", "margin:N"),
    ]
    base = alt.Chart(frame)
    band = base.mark_bar(color=GREY, opacity=0.22, height=16).encode(
        x=alt.X("margin_low:Q", scale=scale), x2="margin_high:Q", y=y, tooltip=tooltip
    )
    zero = alt.Chart(pd.DataFrame({"zero": [1.0 if ratio else 0.0]})).mark_rule(color=GREY, strokeWidth=1.5).encode(
        x=alt.X("zero:Q", scale=scale)
    )  # fmt: skip
    bars = base.mark_rule(strokeWidth=3).encode(x=x, x2="high:Q", y=y, color=color, tooltip=tooltip)
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X("point:Q", scale=scale), y=y, color=color, shape=shape, tooltip=tooltip
    )
    arrows = []
    if len(cut := frame[frame["left"]]):
        left = alt.Chart(cut).mark_point(shape="triangle-left", filled=True, size=110, opacity=1)
        arrows.append(left.encode(x=alt.X("low:Q", scale=scale), y=y, color=color, tooltip=tooltip))
    if len(cut := frame[frame["right"]]):
        right = alt.Chart(cut).mark_point(shape="triangle-right", filled=True, size=110, opacity=1)
        arrows.append(right.encode(x=alt.X("high:Q", scale=scale), y=y, color=color, tooltip=tooltip))
    return alt.layer(band, zero, bars, *arrows, points).properties(
        width="container",
        height=170 + 28 * len(frame),
        title=f"{name.replace('_', ' ')}: candidate minus baseline",
    )


def _row(row: Mapping[str, Any], unit: str, among: int) -> dict[str, Any]:
    texts = cells(row, unit)
    low, high = (_end(row, end, unit) for end in ("margin_low", "margin_high"))
    return {
        "row": f"{row['workload']} · {texts[1]}" if among > 1 else row["workload"],
        **{name: row[name] for name in ("verdict", "seeds", "relative", "difference", "low", "high")},
        **{name: row[name] for name in ("margin_low", "margin_high")},
        "shown": texts[5],
        "interval": texts[6],
        "margin": f"{low} to {high}",
    }


def _end(row: Mapping[str, Any], end: str, unit: str) -> str:
    """One end of a row's margin as a difference is written."""
    return cells({**row, "difference": row[end]}, unit)[5]


def is_ratio(row: Mapping[str, Any]) -> bool:
    """Whether a row was tested on ratios: the ends of its margin are a factor and its inverse.

    The margin of other relative differences has the same size on both sides. Where it is zero, nothing tells the two
    apart but a difference below -100%.
    """
    inverse = abs((1 + row["margin_low"]) * (1 + row["margin_high"]) - 1) < 1e-9
    return bool(row["relative"]) and inverse and not (row["difference"] < -1 or row["low"] < -1)


def _domain(numbers: pd.DataFrame, ratio: bool) -> tuple[float, float]:
    """The ends of the axis: around all finite numbers, with room at both sides."""
    values = [value for value in numbers.to_numpy().ravel().tolist() if math.isfinite(value)]
    if ratio:
        # a bound that is as good as zero would leave no room for the others
        logs = [max(min(math.log10(value), 9.0), -9.0) for value in [*values, 1.0] if value > 0]
        room = 0.08 * (max(logs) - min(logs)) or 0.1
        return 10 ** (min(logs) - room), 10 ** (max(logs) + room)
    values = [*values, 0.0]
    room = 0.08 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room


def _title(frame: pd.DataFrame, unit: str) -> str:
    if frame["relative"].all():
        return "difference in percent of the baseline"
    return {"%": "difference in percentage points", "": "difference"}.get(unit, f"difference in {unit}")


def _axis(frame: pd.DataFrame, ratio: bool, unit: str) -> alt.Axis:
    if ratio:
        return alt.Axis(labelExpr=_RATIO, tickCount=5, labelOverlap=True)
    if frame["relative"].all():
        return alt.Axis(format="+~%", tickCount=6, labelOverlap=True)
    if unit == "%":
        points = "(datum.value > 0 ? '+' : '') + format(100 * datum.value, '.3~g') + ' pp'"
        return alt.Axis(labelExpr=points, tickCount=6, labelOverlap=True)
    return alt.Axis(format="+.3~g", tickCount=6, labelOverlap=True)
