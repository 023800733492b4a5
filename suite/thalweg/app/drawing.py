"""How a page shows a chart and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import altair as alt
import pandas as pd
import streamlit as st

from thalweg.contracts import Probe
from thalweg.present.charts.apart import apart
from thalweg.present.picture import Picture
from thalweg.present.sentences import plain
from thalweg.present.table import Column, Table


def show_chart(chart: alt.TopLevelMixin, key: str) -> None:
    """Draw a chart as wide as the page, or in its own size if it has one; then it scrolls in its box on a small screen.

    The parts of a concatenation stand side by side as far as the page is wide, and below each other on a small screen.

    Args:
        chart: the chart.
        key: the name of its box, unique on the page.
    """
    drawn = cast(alt.Chart, chart)
    if isinstance(chart, alt.Chart | alt.LayerChart) and not isinstance(drawn.width, int | alt.Step):
        # a height that is known from the start, so that nothing below moves when the chart is drawn
        height: Any = drawn.height if isinstance(drawn.height, int) else "content"
        st.altair_chart(drawn, width="stretch", height=height)
        return
    parts = apart(chart) if isinstance(chart, alt.ConcatChart) else []
    if parts:
        _head(chart)
        with st.container(horizontal=True, key=key):
            # a part that is wider than the screen scrolls too
            st.html(f"<style>.st-key-{key} {{overflow-x: auto;}}</style>")
            for part in parts:
                st.altair_chart(cast(alt.Chart, part).properties(autosize="pad"), width="content")
        return
    with st.container(key=key):
        st.html(f"<style>.st-key-{key} {{overflow-x: auto;}}</style>")
        # without "pad" Streamlit fits title, axes and legend into the chart's width, and a square is not square
        st.altair_chart(drawn.properties(autosize="pad"), width="content")


def _head(chart: alt.TopLevelMixin) -> None:
    """Draw a chart's title and the lines below it as texts of the page."""
    title = cast(Any, chart).title
    if isinstance(title, alt.TitleParams):
        st.markdown(f"**{plain(title['text'])}**")
        about = title["subtitle"]
        if about is not alt.Undefined:
            st.caption("  \n".join(plain(line) for line in about))


def draw_probe(probe: Probe, table: pd.DataFrame, view: str = "", camera: Mapping[str, float] | None = None) -> None:
    """Draw a probe's table: its chart, or one of its views. The page tells a plugin's mistake, and goes on.

    ``camera`` is where the eye is in a picture of three dimensions.
    """
    try:
        drawn = probe.views()[view](table) if view else probe.chart(table)
        if isinstance(drawn, alt.TopLevelMixin):
            show_chart(drawn, "probe-chart")
        else:
            if camera is not None:
                cast(Any, drawn).update_scenes(camera_eye=dict(camera))
            st.plotly_chart(drawn, width="stretch")
    except Exception as error:
        st.error(plain(f"The probe {probe.name!r} cannot draw this table: {type(error).__name__}: {error}"))


def show_picture(picture: Picture, key: str) -> None:
    """Draw a chart with its caption."""
    show_chart(picture.chart, key)
    st.caption(picture.caption)


def show_table(table: Table, key: str | None = None, **settings: Any) -> Any:
    """Draw a table whose columns can be sorted; what Streamlit gives for it with these further settings."""
    frame = table.frame()
    columns = {column.name: _config(column, frame[column.name]) for column in table.columns}
    return show_frame(frame, placeholder="–", column_config=columns, key=key, **settings)


def pick_row(table: Table, key: str) -> int | None:
    """Draw a table one of whose rows can be chosen; the number of the chosen row."""
    chosen = show_table(table, key, on_select="rerun", selection_mode="single-row").selection.rows
    return int(chosen[0]) if chosen else None


def show_frame(frame: pd.DataFrame, **settings: Any) -> Any:
    """Draw a data frame at full height; what Streamlit gives for it with these settings."""
    return st.dataframe(frame, hide_index=True, width="stretch", height="content", **settings)


def _config(column: Column, values: pd.Series) -> Any:
    make = st.column_config
    # Streamlit types its widths and formats as literals
    settings: dict[str, Any] = {"help": column.help or None, "width": column.width}
    if column.kind == "sparkline":
        numbers = [value for line in values for value in line]
        ends = {"y_min": min(numbers, default=None), "y_max": max(numbers, default=None)}
        return make.LineChartColumn(column.heading, color="blue", **settings, **ends)
    if column.pinned:
        settings["pinned"] = True
    if column.pinned and column.width is None:
        longest = int(values.astype(str).str.len().max()) if len(values) else 0
        settings["width"] = max(95, min(20 + 7 * longest, 190))
    if column.format:
        return make.NumberColumn(column.heading, format=column.format.printf, **settings)
    if pd.api.types.is_numeric_dtype(values):
        return make.NumberColumn(column.heading, **settings)
    return make.TextColumn(column.heading, **settings)
