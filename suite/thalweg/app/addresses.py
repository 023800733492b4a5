"""What an address asks for in vain: a page that is not there, and choices that its page does not have."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

import streamlit as st

from thalweg.app.links import KEPT, link
from thalweg.present.pair import SIDES
from thalweg.present.sentences import plain
from thalweg.shown import brief

_CURVE = ("workload", "metric", "axis")
_SIDE = ("source", "benchmark", "folder", "workload", "optimizer", "seed")
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "start": ("finding",),
    "leaderboard": ("by", "only", "words", "where"),
    "curves": (
        *_CURVE, "beside", "beside-workload", "drawn", "splits", "lines", "log-*", "linear-*", "log-x", "marks", "part",
        "smoothing",
    ),
    "landscape": ("probe", "trials", "picture", "camera", "workload", "optimizer"),
    "compare": (
        "kind", "by", "paired", "margins", *_CURVE, "split", "optimizer",
        *(f"{side}-{name}" for side in SIDES for name in _SIDE),
    ),
    "live": ("workload",),
    "trials": ("workload", "optimizer", "status", "ranks", "reason", "where"),
    "trial": ("trial", "metric"),
    "claims": ("tier", "claim", "search", "verdict"),
    "playground": ("function", "optimizers", "plane-probe", "plane-trial", "plane-draw", "steps", "lr-*", "x-*", "y-*"),
    "looks": ("look", "look-picture"),
    "plugins": ("kind", "name"),
    "docs": ("doc",),
}  # fmt: skip
"""The names of the choices in each page's address, some of which are there only beside others; ``*`` is any text."""
OTHERS = ("token", "embed", "embed_options")
"""Names that belong to the app's door and to Streamlit."""
MOST_TOLD = 3
_PAGE = "asked-page"
"""The place in the session of the page that was asked for in vain, with the page that was shown instead."""


def tell_page(shown: str, title: str, pages: Collection[str]) -> None:
    """Say that the address asks for a page that is not there, while the page is shown that came instead.

    Args:
        shown: the address of the page that is shown.
        title: its title.
        pages: the addresses of all pages.
    """
    asked = unquote(urlsplit(st.context.url or "").path).rstrip("/").rpartition("/")[2]
    if asked and asked not in pages:
        # Streamlit takes the name out of the address at once
        st.session_state[_PAGE] = (asked, shown)
    asked, instead = st.session_state.get(_PAGE, ("", ""))
    if not asked:
        return
    if instead != shown:
        del st.session_state[_PAGE]
        return
    near = difflib.get_close_matches(asked.lower(), list(pages), 1, 0.5)
    st.warning(plain(f"There is no page {brief(asked)}, so this is the page {title!r}."))
    if near:
        link(f"The nearest page is '{near[0]}'", near[0])


def tell_parameters(shown: str) -> None:
    """Say which choices in the address the page does not have, with the nearest names; called when the page is drawn.

    Args:
        shown: the address of the page.
    """
    known = (*PARAMETERS.get(shown, ()), *KEPT)
    # a widget that is bound to the address has its parameter's name as its key
    vain = [
        name
        for name in st.query_params
        if name not in OTHERS
        and name not in st.session_state
        and not any(fnmatchcase(name, pattern) for pattern in known)
    ]
    if not vain:
        return
    names = [name for name in known if "*" not in name]
    told = []
    for name in vain[:MOST_TOLD]:
        near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
        told.append(f"{brief(name)}{f' (the nearest is {near[0]!r})' if near else ''}")
    more = f" and {len(vain) - MOST_TOLD:,} more" if len(vain) > MOST_TOLD else ""
    st.warning(plain(f"The address asks for choices that this page does not have: {', '.join(told)}{more}."))
