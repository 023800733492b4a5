"""Whether two trainings end in one valley."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg import Column, Option, Probe
from thalweg_plugins.probes._charts import GREY, color_and_dash, faceted

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext


class ModeConnectivity(Probe):
    """The loss on the straight line between two trials' final weights, on every split, and how far it rises.

    The barrier is max_t L((1 - t) w_a + t w_b) - ((1 - t) L(w_a) + t L(w_b)). Batch norm's statistics are re-estimated
    at each point on the training split: those of either end do not belong to the weights between them.
    """

    name = "mode-connectivity"
    summary = "loss barrier on the straight line between two trials' final weights"
    equation = "B = max_t L((1 - t) w_a + t w_b) - ((1 - t) L(w_a) + t L(w_b))"
    source = "Frankle et al. 2020, section 2; Entezari et al. 2022; batch norm: Izmailov et al. 2018, section 3.2"
    when = ("pair",)
    needs = ("final",)
    options = (
        Option("points", 25, "[3, inf)", "evaluations, evenly spaced"),
        Option(
            "batch_norm",
            "re-estimated",
            ("re-estimated", "running", "batch", "interpolated"),
            "batch norm's statistics between the ends",
        ),
    )
    columns = (
        Column("split", "", "the examples"),
        Column("t", "", "position: 0 at the one trial's final weights, 1 at the other's"),
        Column("loss", "", "the loss there"),
        Column("chord", "", "what it would be on a straight line between the ends"),
        Column("barrier", "", "of the split: the largest loss above the chord"),
    )

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Evaluate the loss of every split on the line."""
        import numpy as np
        import pandas as pd

        from thalweg.landscape.evaluate import Line, flat_from, losses_at
        from thalweg.landscape.shape import barrier

        assert context.other is not None
        options = context.options
        interpolated = options["batch_norm"] == "interpolated"
        ends = [
            flat_from(context.module, state or {}, statistics=interpolated)
            for state in (context.weights.final, context.other.final)
        ]
        t = np.linspace(0, 1, options["points"])
        tables = []
        for split in context.problem.sizes:
            losses = losses_at(
                context.module,
                context.problem,
                Line(ends[0], ends[1], t.tolist()),
                split,  # type: ignore[arg-type]
                options["batch_norm"],
                metrics=("loss",),
                counts=context.objective.counts,
            )["loss"].numpy()
            chord = np.linspace(losses[0], losses[-1], len(t))
            columns = {"split": split, "t": t, "loss": losses, "chord": chord, "barrier": barrier(losses)}
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """A line for each split, with its chord in grey; the barriers in the subtitle."""
        import altair as alt

        splits = list(table["split"].unique())
        x = alt.X("t:Q", title="position t (0: one trial's end, 1: the other's)")
        base = alt.Chart(table)
        y = alt.Y("loss:Q", title="loss", axis=alt.Axis(format="~g"))
        lines = base.mark_line(strokeWidth=2).encode(
            x=x,
            y=y,
            tooltip=["split:N", alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("loss:Q", format=".4g")],
            **color_and_dash("split", "split", splits),
        )
        chords = base.mark_line(strokeWidth=1, color=GREY).encode(x=x, y="chord:Q", detail="split:N")
        layers = alt.layer(chords, lines)
        if "trial" in table:
            return faceted(layers, table, "trial", "Loss between the ends of two trials")
        barriers = ", ".join(
            f"{split} {part['barrier'].iloc[0]:.3g}" for split, part in table.groupby("split", sort=False)
        )
        title = alt.TitleParams(
            "Loss between the ends of two trials", subtitle=f"barrier above the chord: {barriers}", subtitleColor=GREY
        )
        return layers.properties(title=title, width="container", height=320)
