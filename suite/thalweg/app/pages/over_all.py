"""The leaderboard's section over all workloads."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from thalweg.app.drawing import show_chart
from thalweg.present.charts.over_all import left_out, pictures
from thalweg.present.sentences import ranks
from thalweg.present.view import View


def show(view: View) -> None:
    """Draw it, where two workloads and more have a target and results."""
    found = view.over_all
    if found is None:
        return
    st.subheader("Over all workloads", anchor="over-all")
    if found.table.empty:
        st.info(left_out(found, view))
        return
    st.markdown(
        f"Ranked by the area under each line below, on the {len(found.workloads)} workloads that have a target, "
        "whoever else is there."
    )
    table = found.table
    shown = pd.DataFrame(
        {
            "rank": [ranks(*pair) for pair in zip(table["rank_low"], table["rank_high"], strict=True)],
            "optimizer": table["optimizer"],
            "seeds": table["seeds"],
            "area": table["ecdf"],
            "95% interval": _intervals(table["low"], table["high"]),
            "profile score *": table["profile"],
            "95% interval *": _intervals(table["profile_low"], table["profile_high"]),
        }
    )
    numbers = {name: st.column_config.NumberColumn(format="%.3f") for name in ("area", "profile score *")}
    st.dataframe(shown, hide_index=True, width="stretch", height="content", column_config=numbers, key="over-all")
    for number, picture in enumerate(pictures(found, view.optimizers)):
        show_chart(picture.chart, f"over-all-{number}")
        st.caption(picture.caption)
    if reasons := left_out(found, view):
        st.caption(reasons)


def _intervals(low: pd.Series, high: pd.Series) -> list[str]:
    return ["–" if a != a else f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True)]
