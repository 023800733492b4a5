"""The parts of a decision on one line each: the interval against the bound."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.contracts.claim import Part
from thalweg.present.charts.axes import Layers
from thalweg.present.charts.palette import BLUE, GREY, ORANGE, SILVER
from thalweg.present.claims import bound, interval, natural
from thalweg.present.numbers import number

_COLORS = {"holds": BLUE, "not reproduced": ORANGE, "inconclusive": SILVER}
_SHAPES = {"holds": "circle", "not reproduced": "diamond", "inconclusive": "square"}


def parts_chart(parts: Sequence[Part]) -> Layers | None:
    """The interval of each part against its bound; None where no part has a number.

    Parts have different units. So each row has a scale of its own: 0 is the bound, positive is the side on which the
    part holds, and the end of the interval that is farthest from the bound is at 1 or -1.
    """
    rows = [row | {"row": number} for number, part in enumerate(parts) if (row := _row(part)) is not None]
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    y = alt.Y("row:O", title=None, axis=None, scale=alt.Scale(paddingInner=0.2))
    scale = alt.Scale(domain=[-1.08, 1.08])
    x = alt.X(
        "value:Q",
        scale=scale,
        axis=alt.Axis(values=[0], labelExpr="'bound'", grid=False, title="← does not hold · holds →"),
    )
    there = [verdict for verdict in _COLORS if verdict in set(frame["verdict"])]
    legend = alt.Legend(title=None, orient="bottom", symbolOpacity=1)
    colors = alt.Scale(domain=there, range=[_COLORS[verdict] for verdict in there])
    shapes = alt.Scale(domain=there, range=[_SHAPES[verdict] for verdict in there])
    color = alt.Color("verdict:N", scale=colors, legend=legend)
    shape = alt.Shape("verdict:N", scale=shapes, legend=legend)
    tooltip = ["part:N", alt.Tooltip("shown:N", title="value"), "interval:N", "bound:N", "verdict:N"]
    # a tick in each row and no line over all rows, which would cross the names
    edge = alt.Chart(frame.assign(edge=0.0)).mark_tick(color=GREY, thickness=2, size=18, yOffset=3).encode(
        x=alt.X("edge:Q", scale=scale), y=y
    )  # fmt: skip
    names = alt.Chart(frame).mark_text(align="left", dy=-12, fontSize=11, color=GREY, limit=360).encode(
        x=alt.value(2), y=y, text="part:N", tooltip=tooltip
    )  # fmt: skip
    bars = alt.Chart(frame).mark_rule(strokeWidth=3).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q", y=y, color=color, tooltip=tooltip
    )  # fmt: skip
    points = alt.Chart(frame).mark_point(filled=True, size=80, opacity=1).encode(
        x=x, y=y, color=color, shape=shape, tooltip=tooltip
    )  # fmt: skip
    # the height holds for axis and legend too
    height = 42 * max(len(rows), 2) + 130
    return alt.layer(edge, names, bars, points).properties(width="container", height=height)


def _row(part: Part) -> dict[str, object] | None:
    if math.isnan(part.statistic):
        return None
    low, high = (part.statistic if math.isnan(end) else end for end in (part.low, part.high))
    ends = _margins(part, low, high)
    middle = _margin(part, part.statistic)
    scale = max(abs(ends[0]), abs(ends[1]), abs(middle)) or 1.0
    name = f"{part.name}{' · reported' if part.reported else ''}"
    return {
        "part": name,
        "value": middle / scale,
        "low": ends[0] / scale,
        "high": ends[1] / scale,
        "shown": number(natural(part, part.statistic)),
        "interval": interval(part),
        "bound": bound(part),
        "verdict": part.verdict if part.verdict in _COLORS else "inconclusive",
    }


def _margin(part: Part, value: float) -> float:
    """The distance from the bound, positive on the side on which the part holds."""
    if part.side == "within":
        upper = part.threshold if part.upper is None else part.upper
        return min(value - part.threshold, upper - value)
    return value - part.threshold if part.side == "above" else part.threshold - value


def _margins(part: Part, low: float, high: float) -> tuple[float, float]:
    ends = [_margin(part, low), _margin(part, high)]
    if part.side == "within" and part.upper is not None:
        middle = (part.threshold + part.upper) / 2
        if low <= middle <= high:
            ends.append(_margin(part, middle))
    return min(ends), max(ends)
