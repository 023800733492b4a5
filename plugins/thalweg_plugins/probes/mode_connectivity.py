"""The loss between the ends of two trainings: do they lie in one valley?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg.present.charts.palette import GREY
from thalweg_plugins.probes._charts import (
    by_trial,
    color_and_dash,
    count_missing,
    crosses,
    finite,
    lonely,
    number_format,
    said,
)

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext


class ModeConnectivity(Probe):
    """The loss on the straight line between two trials' final weights, on every split, and how far it rises.

    The barrier is max_t L((1 - t) w_a + t w_b) - ((1 - t) L(w_a) + t L(w_b)). Batch norm's statistics are re-estimated
    at each point on the training split, because the statistics of the ends do not fit the weights between them.
    """

    name = "mode-connectivity"
    summary = "loss barrier on the straight line between two trials' final weights"
    equation = "B = max_t L((1 - t) w_a + t w_b) - ((1 - t) L(w_a) + t L(w_b))"
    source = "Frankle et al. 2020, section 2; Entezari et al. 2022; batch norm: Izmailov et al. 2018, section 3.2"
    revision = 2
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

    def points(self, options: Mapping[str, Any]) -> int:
        """The points of the line, for each split."""
        return int(options["points"])

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
                resume=context.scratch and context.scratch / f"{split}.sums",
                progress=context.progress,
                counts=context.objective.counts,
            )["loss"].numpy()
            chord = np.linspace(losses[0], losses[-1], len(t))
            columns = {"split": split, "t": t, "loss": losses, "chord": chord, "barrier": barrier(losses)}
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """A line for each split, with its chord in grey; the barriers in the subtitle."""
        import altair as alt

        name = "Loss between the ends of two trials"
        table = table.assign(loss=finite(table["loss"]), chord=finite(table["chord"]))
        if not table["loss"].notna().any():
            return said(name, f"none of {len(table)} points is finite" if len(table) else "the table has no losses")
        x = alt.X("t:Q", title="position t (0: one trial's end, 1: the other's)")
        base = alt.Chart(table)
        axis = alt.Axis(format=number_format(table["loss"]))
        missing = count_missing(table["loss"])
        point = alt.OverlayMarkDef(size=20) if missing or lonely(table, ["trial", "split"]) else False
        lines = base.mark_line(strokeWidth=2, point=point).encode(
            x=x,
            y=alt.Y("loss:Q", title="loss", axis=axis),
            tooltip=["split:N", alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("loss:Q", format=".4g")],
            **color_and_dash("split", "split", list(table["split"].unique())),
        )
        chords = base.mark_line(strokeWidth=1, color=GREY).encode(
            x=x, y=alt.Y("chord:Q", title="loss", axis=axis), detail="split:N"
        )
        chart = alt.layer(chords, lines, *([crosses(base, "loss", x)] if missing else []))
        if "trial" in table:
            return by_trial(chart, table, name, missing)
        known = [
            f"{split} {part['barrier'].iloc[0]:.3g}" if part["loss"].notna().all() else f"{split} unknown"
            for split, part in table.groupby("split", sort=False)
        ]
        return by_trial(chart, table, name, [f"barrier above the chord: {', '.join(known)}" if known else "", missing])
