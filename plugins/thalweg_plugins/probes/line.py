"""The loss on the straight line from the start of training to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from thalweg import Column, Option, Probe

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext


class Line(Probe):
    """L((1 - t) w_0 + t w_T) on the whole training split, batch norm with the running statistics of the end."""

    name = "line"
    summary = "loss along the straight line from initial to final weights"
    equation = "L((1 - t) w_0 + t w_T)"
    source = "Goodfellow, Vinyals & Saxe 2014, section 3"
    when = ("end",)
    needs = ("initial", "final")
    options = (
        Option("points", 101, "[2, inf)", "evaluations, evenly spaced"),
        Option("low", 0.0, summary="where t begins"),
        Option("high", 1.0, summary="where t ends"),
    )
    columns = (
        Column("t", "", "position: 0 at the initial weights, 1 at the final ones"),
        Column("metric", "", "name of the metric"),
        Column("value", "", "its value on the training split"),
    )

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Evaluate every metric along the line."""
        import numpy as np
        import pandas as pd

        from thalweg.landscape.evaluate import Line as Points
        from thalweg.landscape.evaluate import flat_from, losses_at

        initial, final = context.weights.initial, context.weights.final
        assert initial is not None
        assert final is not None
        t = np.linspace(context.options["low"], context.options["high"], context.options["points"])
        points = Points(flat_from(context.module, initial), flat_from(context.module, final), tuple(t.tolist()))
        values = losses_at(context.module, context.problem, points)
        return pd.concat(
            [pd.DataFrame({"t": t, "metric": metric, "value": column.numpy()}) for metric, column in values.items()],
            ignore_index=True,
        )

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss against t, on a log scale where it is positive."""
        import altair as alt

        losses = table[table["metric"] == "loss"]
        scale: Literal["log", "linear"] = "log" if (losses["value"] > 0).all() else "linear"
        chart: alt.Chart = (
            alt.Chart(losses, title="Loss on the line from start to finish")
            .mark_line()
            .encode(
                x=alt.X("t:Q", title="position t (0: initial weights, 1: final weights)"),
                y=alt.Y("value:Q", title="training loss", scale=alt.Scale(type=scale), axis=alt.Axis(format="~g")),
                tooltip=[alt.Tooltip("t:Q", format=".3f"), alt.Tooltip("value:Q", title="training loss", format=".4g")],
            )
            .properties(width="container", height=320)
        )
        if "trial" in table:
            chart = chart.encode(
                color=alt.Color("trial:N", title="trial"), strokeDash=alt.StrokeDash("trial:N", title="trial")
            )
        return chart
