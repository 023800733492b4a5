"""The critical-difference diagram (Demšar 2006)."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.present.charts.axes import Layers, OptimizerScales
from thalweg.present.charts.palette import GREY
from thalweg.scoring.critical import CriticalDifference


def critical_chart(found: CriticalDifference, among: Sequence[str]) -> Layers:
    """Mean ranks, and below them a bar over each group of optimizers that the test does not tell apart."""
    names = [str(name) for name in found.ranks.index]
    ranks = pd.DataFrame({"optimizer": names, "rank": found.ranks.to_numpy()})
    scales = OptimizerScales(names, among)
    rows = [("critical difference", 1.0, 1.0 + found.difference)]
    for number, group in enumerate(found.groups, 1):
        ranked = found.ranks[list(group)]
        more = f" ({number})" if len(found.groups) > 1 else ""
        rows.append((f"not told apart{more}", float(ranked.min()), float(ranked.max())))
    bars = pd.DataFrame(rows, columns=["optimizer", "low", "high"])
    x = alt.Scale(domain=[1, max(len(names), 1 + found.difference)], nice=False, padding=12)
    axis = alt.Axis(orient="top", tickMinStep=1, format="~g")
    y = alt.Y(
        "optimizer:N", sort=[*names, *bars["optimizer"]], title=None, axis=alt.Axis(labelLimit=150, labelOverlap=False)
    )
    spans = (
        alt.Chart(bars)
        .mark_bar(height=5, color=GREY)
        .encode(
            x=alt.X("low:Q", scale=x, axis=axis, title="mean rank (1 is the best)"),
            x2="high:Q",
            y=y,
            tooltip=[alt.Tooltip("optimizer:N", title="bar"), alt.Tooltip("low:Q", format=".2f"),
                     alt.Tooltip("high:Q", format=".2f")],
        )
    )  # fmt: skip
    points = (
        alt.Chart(ranks)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=alt.X("rank:Q", scale=x, axis=axis, title="mean rank (1 is the best)"),
            y=y,
            color=alt.Color("optimizer:N", scale=scales.color, legend=None),
            shape=alt.Shape("optimizer:N", scale=scales.shape, legend=None),
            tooltip=[alt.Tooltip("optimizer:N"), alt.Tooltip("rank:Q", title="mean rank", format=".2f")],
        )
    )
    return alt.layer(spans, points).properties(width="container", height=80 + 28 * (len(names) + len(bars)))
