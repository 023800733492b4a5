"""The loss on the straight line between two weight vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg.present.charts.palette import GREY
from thalweg_plugins.probes._charts import (
    color_and_dash,
    count_missing,
    crosses,
    finite,
    heading,
    lonely,
    loss_scale,
    number_format,
    said,
)
from thalweg_plugins.probes._objective import SPLIT

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext

EXACT = 1e-9
"""The largest rounding error of a position t."""


class Line(Probe):
    """L((1 - t) w_0 + t w_1) on a whole split: from the start of a training to its end, or between two trials' ends.

    Batch norm uses the running statistics of the end (``running``), the statistics of all examples at each point
    (``batch``), running statistics that are re-estimated at each point on the training split, or running statistics
    that are interpolated like the weights. The chart reports the share of steps that do not rise, the bump, the excess
    over the chord and the convex share between t = 0 and t = 1: see ``thalweg.landscape.shape``.
    """

    name = "line"
    summary = "loss along the straight line from initial to final weights, or from one trial's end to another's"
    equation = "L((1 - t) w_0 + t w_1)"
    source = "Goodfellow, Vinyals & Saxe 2014, section 3"
    revision = 3
    when = ("end", "pair")
    weights_suffice = True
    needs = ("initial", "final")
    options = (
        Option("points", 101, "[2, inf)", "evaluations, evenly spaced"),
        Option("low", 0.0, summary="where t begins"),
        Option("high", 1.0, summary="where t ends"),
        SPLIT,
        Option(
            "batch_norm",
            "running",
            ("running", "batch", "re-estimated", "interpolated"),
            "batch norm's statistics: of the end, of all examples at each point, re-estimated there, or interpolated",
        ),
    )
    columns = (
        Column("ends", "", "start to finish, or trial to trial"),
        Column("t", "", "position: 0 at the first end, 1 at the second"),
        Column("metric", "", "name of the metric"),
        Column("value", "", "its value on the split"),
    )

    def points(self, options: Mapping[str, Any]) -> int:
        """The points of the line."""
        return int(options["points"])

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Evaluate every metric along the line."""
        import numpy as np
        import pandas as pd

        from thalweg.landscape.evaluate import Line as Points
        from thalweg.landscape.evaluate import flat_from, losses_at

        options = context.options
        pair = context.other is not None
        states = (context.weights.final, context.other.final) if context.other else (
            context.weights.initial, context.weights.final
        )  # fmt: skip
        t = np.linspace(options["low"], options["high"], options["points"])
        interpolated = options["batch_norm"] == "interpolated"
        ends = [flat_from(context.module, state or {}, statistics=interpolated) for state in states]
        values = losses_at(
            context.module,
            context.problem,
            Points(ends[0], ends[1], t.tolist()),
            options["split"],
            options["batch_norm"],
            counts=context.objective.counts,
            progress=context.progress,
            resume=context.scratch and context.scratch / "line.sums",
        )
        name = "trial to trial" if pair else "start to finish"
        return pd.concat(
            [
                pd.DataFrame({"ends": name, "t": t, "metric": metric, "value": column.numpy()})
                for metric, column in values.items()
            ],
            ignore_index=True,
        )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why the options do not fit: the range must go from a lower to a higher end."""
        low, high = options["low"], options["high"]
        return None if low < high else f"low = {low:g} is not below high = {high:g}"

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss against t with its chord, on a log scale where it is positive; numbers of its shape on [0, 1]."""
        import altair as alt

        losses = table[table["metric"] == "loss"]
        losses = losses.assign(value=finite(losses["value"]))
        pair = len(losses) > 0 and bool((losses["ends"] == "trial to trial").all())
        name = "Loss on the line from one trial to another" if pair else "Loss on the line from start to finish"
        if not losses["value"].notna().any():
            return said(name, f"none of {len(losses)} points is finite" if len(losses) else "the table has no losses")
        log = loss_scale(losses["value"]) == "log"
        x = alt.X("t:Q", title="position t " + ("(0: one trial, 1: the other)" if pair else "(0: start, 1: finish)"))
        y = alt.Y(
            "value:Q",
            title=f"loss ({'log' if log else 'linear'} scale)",
            scale=alt.Scale(type="log" if log else "linear", nice=not log),
            axis=alt.Axis(format=number_format(losses["value"], log), tickCount=6),
        )
        tooltip = [alt.Tooltip("t:Q", format=".3f"), alt.Tooltip("value:Q", title="loss", format=".4g")]
        missing = count_missing(losses["value"])
        base = alt.Chart(losses)
        # a point between two missing points would not be seen as a line
        point = alt.OverlayMarkDef(size=20) if missing or lonely(losses, ["trial"]) else False
        lines = base.mark_line(strokeWidth=2, point=point).encode(x=x, y=y, tooltip=tooltip)
        layers = [crosses(base, "value", x)] if missing else []
        if "trial" in table:
            lines = lines.encode(**color_and_dash("trial", "trial", list(losses["trial"].unique())))
            about = [missing]
        else:
            about = [*_about(losses, pair), missing]
            ends = losses[_is_at(losses["t"], 0) | _is_at(losses["t"], 1)]
            if not log and len(ends) == 2:
                layers.append(alt.Chart(ends).mark_line(strokeDash=[4, 4], color=GREY).encode(x=x, y=y))
        return alt.layer(*layers, lines).properties(title=heading(name, about), width="container", height=320)


def _about(losses: pandas.DataFrame, pair: bool) -> list[str]:
    """The shape between t = 0 and t = 1 in words, or why there are no numbers of it."""
    from thalweg.landscape.shape import barrier, line_shape

    losses = losses.sort_values("t")
    inside = losses[(losses["t"] > -EXACT) & (losses["t"] < 1 + EXACT)]
    values = inside["value"].to_numpy(float)
    if not (_is_at(inside["t"], 0).any() and _is_at(inside["t"], 1).any()):
        return ["no numbers of the shape: t = 0 and t = 1 are not both among the points"]
    if inside["value"].isna().any():
        return ["no numbers of the shape: not all losses between t = 0 and t = 1 are finite"]
    outside = " between t = 0 and t = 1" if len(inside) < len(losses) else ""
    if pair:
        return [f"barrier above the chord{outside} {barrier(values):.3g}"]
    if len(inside) < 3:
        return ["no numbers of the shape: they need three points"]
    shape = line_shape(values)
    steps = f"{shape.monotone:.0%} of steps{outside} do not rise"
    if not values[0] > values[-1]:
        return [steps, "the loss at t = 1 is not below that at t = 0, so there is no drop to measure by"]
    return [
        f"{steps}; {shape.convex:.0%} convex",
        f"bump {shape.bump:.2g} and excess over the chord {shape.chord_excess:.2g} of the drop",
    ]


def _is_at(t: pandas.Series, place: float) -> pandas.Series:
    return (t - place).abs() < EXACT
