"""The leaderboard's section over all workloads."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from thalweg.app.over_all_charts import critical_chart, ecdf_chart, improvement_chart
from thalweg.app.view import View
from thalweg.app.words import capital, interquartile_means, told
from thalweg.scoring.over_all import OverAll, over_all
from thalweg.scoring.pooled import too_few


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
    _pooled(found)
    if found.critical is not None:
        st.altair_chart(critical_chart(found.critical, view.optimizers), width="stretch")
        st.caption(told(found.critical))
    else:
        st.caption(f"{capital(found.no_critical)}.")


def _pooled(found: OverAll) -> None:
    means = found.pooled.means
    if len(means) > 1:
        st.altair_chart(improvement_chart(found.pooled.improvement, means["optimizer"].tolist()), width="stretch")
        st.caption(
            f"Areas of single trials, pooled; in the order of interquartile means: {interquartile_means(means)}. "
            "In bold: the 95% interval leaves out one half. Intervals are of a stratified bootstrap over seeds."
        )
    for line in too_few(found.pooled):
        st.caption(f"{capital(line)}.")


def _intervals(low: pd.Series, high: pd.Series) -> list[str]:
    return ["–" if a != a else f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True)]
