"""What a page gives away: its address, its data as CSV, its charts as PNG and SVG, and the command that makes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import altair as alt
import pandas as pd
import streamlit as st

from thalweg.app.links import address
from thalweg.present.figures import png_of, svg_of
from thalweg.store.sheets import to_csv

Drawn = alt.TopLevelMixin | Callable[[], alt.TopLevelMixin]


def share(
    name: str,
    charts: Mapping[str, Drawn] | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
    command: str = "",
) -> None:
    """Draw the button "Share", which opens the page's address, its downloads and its command.

    Args:
        name: the first word of the files' names.
        charts: the page's charts by their titles; a function that gives a chart is called at a click on its button.
        tables: the page's tables by their titles.
        command: the command line that prints or makes what the page shows.
    """
    with st.popover("Share", icon=":material/share:"):
        st.caption("The address of this page, with every choice in it")
        st.code(address(), language=None, wrap_lines=True)
        if command:
            st.caption("The command that gives it")
            st.code(command, language="bash", wrap_lines=True)
        for title, table in (tables or {}).items():
            # written at the click, so that a page with a large table is not slower
            _offer(f"{title} as CSV", partial(to_csv, table), f"{name}-{slug(title)}.csv", "text/csv")
        for title, chart in (charts or {}).items():
            file = f"{name}-{slug(title)}"
            with st.container(horizontal=True):
                _offer(f"{title} as PNG", partial(_png, chart), f"{file}.png", "image/png")
                _offer(f"{title} as SVG", partial(_svg, chart), f"{file}.svg", "image/svg+xml")


def slug(title: str) -> str:
    """A title as a part of a file's name.

    >>> slug("Over all workloads")
    'over-all-workloads'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "picture"


def _png(chart: Drawn) -> bytes:
    return png_of(_made(chart))


def _svg(chart: Drawn) -> str:
    return svg_of(_made(chart))


def _made(chart: Drawn) -> alt.TopLevelMixin:
    return chart if isinstance(chart, alt.TopLevelMixin) else chart()


def _offer(label: str, data: Callable[[], str | bytes], file_name: str, mime: str) -> None:
    st.download_button(label, data, file_name=file_name, mime=mime, on_click="ignore", type="tertiary")
