"""The loss on the straight line between two weight vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg import Column, Option, Probe
from thalweg_plugins.probes._charts import GREY, color_and_dash, loss_scale
from thalweg_plugins.probes._objective import SPLIT

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext


class Line(Probe):
    """L((1 - t) w_0 + t w_1) on a whole split: from the start of a training to its end, or between two trials' ends.

    Batch norm uses the statistics that were kept at the end (``running``), those of all examples together at each point
    (``batch``), those re-estimated at each point on the training split, or interpolated as the weights are. The chart
    tells the share of steps that do not rise, the bump, the excess over the chord and the convex share (see
    ``thalweg.landscape.shape``).
    """

    name = "line"
    summary = "loss along the straight line from initial to final weights, or from one trial's end to another's"
    equation = "L((1 - t) w_0 + t w_1)"
    source = "Goodfellow, Vinyals & Saxe 2014, section 3"
    revision = 2
    when = ("end", "pair")
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
            resume=context.scratch and context.scratch / "line.npz",
        )
        name = "trial to trial" if pair else "start to finish"
        return pd.concat(
            [
                pd.DataFrame({"ends": name, "t": t, "metric": metric, "value": column.numpy()})
                for metric, column in values.items()
            ],
            ignore_index=True,
        )

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss against t with its chord, on a log scale where it is positive."""
        import altair as alt

        from thalweg.landscape.shape import barrier, line_shape

        losses = table[table["metric"] == "loss"]
        pair = bool((losses["ends"] == "trial to trial").all())
        several = "trial" in table
        scale = alt.Scale(type=loss_scale(losses["value"]))  # type: ignore[arg-type]
        x = alt.X("t:Q", title="position t " + ("(0: one trial, 1: the other)" if pair else "(0: start, 1: finish)"))
        y = alt.Y("value:Q", title=f"loss ({scale.type} scale)", scale=scale, axis=alt.Axis(format="~g", tickCount=6))
        tooltip = [alt.Tooltip("t:Q", format=".3f"), alt.Tooltip("value:Q", title="loss", format=".4g")]
        lines: alt.Chart = alt.Chart(losses).mark_line(strokeWidth=2).encode(x=x, y=y, tooltip=tooltip)
        name = "Loss on the line from one trial to another" if pair else "Loss on the line from start to finish"
        if several:
            lines = lines.encode(**color_and_dash("trial", "trial", list(losses["trial"].unique())))
            return lines.properties(title=name, width="container", height=320)
        values = losses["value"].to_numpy(float)
        chord = losses.iloc[[0, -1]]
        straight = alt.Chart(chord).mark_line(strokeDash=[4, 4], color=GREY).encode(x=x, y=y)
        if pair:
            subtitle = f"barrier above the chord {barrier(values):.3g}; dashed: between the ends"
        else:
            shape = line_shape(values)
            subtitle = (
                f"{shape.monotone:.0%} of steps do not rise; bump {shape.bump:.2g} and excess over the chord "
                f"{shape.chord_excess:.2g} of the drop; {shape.convex:.0%} convex"
            )
        title = alt.TitleParams(name, subtitle=subtitle, subtitleColor=GREY)
        layers = [lines] if scale.type == "log" else [straight, lines]
        return alt.layer(*layers).properties(title=title, width="container", height=320)
