"""The leaderboard's section over all workloads."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd
import streamlit as st

from thalweg.app.charts import style
from thalweg.app.view import View
from thalweg.scoring.over_all import over_all


def show(view: View) -> None:
    """Draw it, where two workloads and more have a target and results."""
    if view.plan is None:
        return
    found = over_all(view.plan, view.seen)
    if len(found.workloads) < 2 or found.table.empty:
        return
    st.subheader("Over all workloads", anchor="over-all")
    st.markdown(
        f"Ranked by the area under each line below, on the {len(found.workloads)} workloads that have a target, "
        "whoever else is there."
    )
    table = found.table
    shown = pd.DataFrame(
        {
            "rank": [
                f"{low}–{high}" if low != high else str(low)
                for low, high in zip(table["rank_low"], table["rank_high"], strict=True)
            ],
            "optimizer": table["optimizer"],
            "area": table["ecdf"],
            "95% interval": _intervals(table["low"], table["high"]),
            "AlgoPerf's score *": table["profile"],
            "95% interval *": _intervals(table["profile_low"], table["profile_high"]),
        }
    )
    numbers = {name: st.column_config.NumberColumn(format="%.3f") for name in ("area", "AlgoPerf's score *")}
    st.dataframe(shown, hide_index=True, width="stretch", height="content", column_config=numbers, key="over-all")
    st.altair_chart(ecdf_chart(found.curve, view.optimizers), width="stretch")
    lacking = "".join(f" {name} has no trial on {', '.join(some)}." for name, some in found.incomplete.items())
    st.caption(
        "The share of targets (each workload's own and easier ones) that are reached within a share of the budget. "
        f"* depends on who else is there: performance profiles up to 4 times the fastest.{lacking}"
    )


def _intervals(low: pd.Series, high: pd.Series) -> list[str]:
    return ["–" if a != a else f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True)]


def ecdf_chart(curve: pd.DataFrame, among: Sequence[str]) -> alt.Chart:
    """A step line for each optimizer; ``curve`` has the columns optimizer, share, reached."""
    domain, colors, dashes, _ = style(sorted(curve["optimizer"].unique()), among)
    chart: alt.Chart = (
        alt.Chart(curve)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X(
                "share:Q",
                scale=alt.Scale(type="log", nice=False),
                title="share of the budget that is spent (log scale)",
                axis=alt.Axis(format="~%", values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], grid=False),
            ),
            y=alt.Y(
                "reached:Q",
                scale=alt.Scale(domain=[0, 1]),
                title="share of targets reached",
                axis=alt.Axis(format="~%", tickCount=6),
            ),
            color=alt.Color(
                "optimizer:N",
                scale=alt.Scale(domain=domain, range=colors),
                legend=alt.Legend(title=None, orient="top", symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash("optimizer:N", scale=alt.Scale(domain=domain, range=dashes), legend=None),
            tooltip=["optimizer:N", alt.Tooltip("share:Q", format=".2~%"), alt.Tooltip("reached:Q", format=".1%")],
        )
        .properties(width="container", height=300)
    )
    return chart
