"""The entries of an optimization track: mean validation losses by step."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.present.charts.axes import Layers, OptimizerScales, legend_height
from thalweg.present.charts.palette import GREY
from thalweg.scoring.track import Entry


def track_chart(found: Sequence[Entry], quantity: str, target: float, among: Sequence[str]) -> Layers:
    """A line for each entry, a rule at the target, and a point where the entry passes the rule."""
    curves = pd.DataFrame(
        [
            {"optimizer": one.optimizer, "step": step, "loss": mean}
            for one in found
            for step, mean in one.means.by_step.items()
        ]
    )
    passed = [(one, one.place) for one in found]
    points = pd.DataFrame(
        [
            {"optimizer": one.optimizer, "step": int(one.grid[place]), "loss": float(one.losses[place].mean())}
            for one, place in passed
            if place is not None
        ],
        columns=["optimizer", "step", "loss"],
    )
    scales = OptimizerScales([one.optimizer for one in found], among)
    least = float(curves["loss"].min())
    # losses far above the target would press the curves together near it
    domain = [least - 0.02, target + 4 * max(target - least, 0.05)]
    y = alt.Y("loss:Q", title=quantity, scale=alt.Scale(zero=False, domain=domain, clamp=True))
    x = alt.X("step:Q", title="steps", axis=alt.Axis(format="~s", grid=False))
    legend = alt.Legend(title=None, orient="bottom", columns=2, symbolType="stroke", symbolSize=300)
    color = alt.Color("optimizer:N", scale=scales.color, legend=legend)
    dash = alt.StrokeDash("optimizer:N", scale=scales.dash, legend=legend)
    tooltip = [alt.Tooltip("optimizer:N"), alt.Tooltip("step:Q"), alt.Tooltip("loss:Q", format=".4f")]
    lines = alt.Chart(curves).mark_line(clip=True).encode(x=x, y=y, color=color, strokeDash=dash, tooltip=tooltip)
    rule = alt.Chart(pd.DataFrame({"loss": [target]})).mark_rule(color=GREY, strokeDash=[4, 4]).encode(y=y)
    marks = (
        alt.Chart(points)
        .mark_point(filled=True, size=80, opacity=1)
        .encode(x=x, y=y, color=alt.Color("optimizer:N", scale=scales.color, legend=None), tooltip=tooltip)
    )
    return alt.layer(lines, rule, marks).properties(width="container", height=320 + legend_height(len(found)))
