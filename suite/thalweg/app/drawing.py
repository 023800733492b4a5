"""How a page shows a chart."""

from __future__ import annotations

from typing import cast

import altair as alt
import streamlit as st


def show_chart(chart: alt.TopLevelMixin, key: str) -> None:
    """As wide as the page; one of its own size keeps it, and scrolls in its box where the page is narrower.

    Args:
        chart: what to draw.
        key: of the box, one on a page.
    """
    drawn = cast(alt.Chart, chart)
    if isinstance(chart, alt.Chart | alt.LayerChart) and not isinstance(drawn.width, int | alt.Step):
        st.altair_chart(drawn, width="stretch")
        return
    with st.container(key=key):
        st.html(f"<style>.st-key-{key} {{overflow-x: auto;}}</style>")
        # else streamlit fits title, axes and legend into that width too, and a square is no square any more
        st.altair_chart(drawn.properties(autosize="pad"), width="content")
