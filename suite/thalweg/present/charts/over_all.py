"""Charts of the ranking over all workloads: the ECDF of targets and the performance profiles."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.present.charts.axes import OptimizerScales, legend_height, line_legend


def ecdf_chart(curve: pd.DataFrame, among: Sequence[str]) -> alt.Chart:
    """A step line for each optimizer; ``curve`` has the columns optimizer, share, reached."""
    x = alt.X(
        "share:Q",
        scale=alt.Scale(type="log", nice=False),
        title="share of the budget that is spent (log scale)",
        axis=alt.Axis(format="~%", values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], grid=False),
    )
    tooltip = [alt.Tooltip("share:Q", format=".2~%"), alt.Tooltip("reached:Q", format=".1%")]
    return _steps(curve, x, "reached", "share of targets reached", tooltip, among)


def profile_chart(curve: pd.DataFrame, among: Sequence[str]) -> alt.Chart:
    """Performance profiles: a step line for each optimizer; ``curve`` has the columns optimizer, tau, within."""
    x = alt.X("tau:Q", scale=alt.Scale(nice=False), title="cost to the target, over the cheapest optimizer's",
              axis=alt.Axis(format="~g", tickCount=7, grid=False))  # fmt: skip
    tooltip = [alt.Tooltip("tau:Q", format=".2f"), alt.Tooltip("within:Q", format=".1%")]
    return _steps(curve, x, "within", "share of workloads", tooltip, among)


def _steps(
    curve: pd.DataFrame, x: alt.X, y: str, title: str, tooltip: list[alt.Tooltip], among: Sequence[str]
) -> alt.Chart:
    scales = OptimizerScales(curve["optimizer"], among)
    legend = line_legend()
    chart: alt.Chart = (
        alt.Chart(curve)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y(f"{y}:Q", scale=alt.Scale(domain=[0, 1]), title=title, axis=alt.Axis(format="~%", tickCount=6)),
            color=alt.Color("optimizer:N", scale=scales.color, legend=legend),
            strokeDash=alt.StrokeDash("optimizer:N", scale=scales.dash, legend=legend),
            tooltip=[alt.Tooltip("optimizer:N"), *tooltip],
        )
        .properties(width="container", height=320 + legend_height(len(scales.labels)))
    )
    return chart
