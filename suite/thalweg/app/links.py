"""Links from page to page, and the address of the page that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import streamlit as st

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

_PAGES = "pages"
"""The place in the session of the pages of this run, by their addresses."""

KEPT = ("source", "benchmark")
"""The choices that go along from page to page."""


def know(pages: Mapping[str, StreamlitPage]) -> None:
    """Remember the pages, by their names, so that links can lead to them."""
    st.session_state[_PAGES] = dict(pages)


def link(label: str, page: str, icon: str | None = None, **query: str | Sequence[str]) -> None:
    """Draw a link to a page, such as ``trial``, with choices in its address.

    Source and benchmark go along unless ``query`` holds others. The page opens in the same session, without loading
    again.
    """
    known = st.session_state.get(_PAGES, {})
    kept = {key: st.query_params[key] for key in KEPT if key in st.query_params}
    choices: dict[str, str | Sequence[str]] = {**kept, **query}
    if page in known:
        st.page_link(known[page], label=label, icon=icon, query_params=choices)
    else:
        # a page that is shown by itself, without the frame
        st.markdown(f"[{label}]({relative(page, choices)})")


def relative(page: str, query: Mapping[str, str | Sequence[str]]) -> str:
    """A page's address with choices, relative to the app.

    >>> relative("trial", {"benchmark": "quick", "trial": "0123"})
    '/trial?benchmark=quick&trial=0123'
    """
    return f"/{page}" + (f"?{urlencode(query, doseq=True)}" if query else "")


def address() -> str:
    """The whole address of the page that is shown, with every choice in it and without the token."""
    shown = urlsplit(st.context.url or "")
    pairs = [(key, value) for key in st.query_params for value in st.query_params.get_all(key)]
    query = urlencode([pair for pair in pairs if pair[0] != "token"])
    place = f"{shown.scheme}://{shown.netloc}" if shown.netloc else ""
    return f"{place}{shown.path}" + (f"?{query}" if query else "")
