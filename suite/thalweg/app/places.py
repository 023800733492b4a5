"""The choice of results of one side of a comparison: of a source that the app knows, or of a folder that is typed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from thalweg.app.data import Source, short, sources
from thalweg.app.sidebar import select
from thalweg.errors import NothingThere, UserError
from thalweg.present.sentences import plain
from thalweg.present.sides import parted, results_at
from thalweg.store.packed_format import is_packed
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in

TYPED = "folder"
"""The choice of a folder that is typed."""

_FOLLOWED = "compare-sidebar"
"""The place in the session of the sidebar's choice that the sides began with."""
_KEYS = ("source", "benchmark", "folder", "workload", "optimizer", "seed")


@dataclass(frozen=True)
class Place:
    """Results of one benchmark."""

    root: Path
    name: str
    source: str = ""
    """The source that holds them, to which links can lead; empty for a folder that was typed."""

    @property
    def text(self) -> str:
        """The folder or packed file, as ``thalweg compare`` is given it."""
        return short(BenchmarkResults(self.root, self.name).path)


def may_type() -> bool:
    """Whether a folder may be typed: every visitor has the token, and the app has no name but this machine's.

    Whoever can type a folder can read any results that the user can read.
    """
    return bool(os.environ.get("THALWEG_APP_TOKEN")) and not os.environ.get("THALWEG_APP_HOSTS")


def follow(source: Source, benchmark: str, sides: Sequence[str]) -> None:
    """Begin the choices of all sides anew when the sidebar's choice changes."""
    shown = (source.key, benchmark)
    if st.session_state.get(_FOLLOWED, shown) != shown:
        for key in (f"{side}-{name}" for side in sides for name in _KEYS):
            st.session_state.pop(key, None)
            st.query_params.pop(key, None)
    st.session_state[_FOLLOWED] = shown


def choose_place(side: str, source: Source, benchmark: str) -> Place | None:
    """Draw the choice of a side's results, which begins with the sidebar's; None, with the reason told, without any."""
    there = {each.key: each for each in sources()}
    keys = [*there, *([TYPED] if may_type() else [])]
    key = select("results", keys, f"{side}-source", source.key)
    try:
        if key == TYPED:
            return _typed(side)
        names = benchmarks_in(there[key].path)
        if not names:
            st.info(plain(f"No results are there: {there[key].label}."))
            return None
        return Place(there[key].path, select("benchmark", names, f"{side}-benchmark", benchmark), key)
    except NothingThere as error:
        st.info(plain(str(error)))
    except UserError as error:
        st.error(plain(str(error)))
    return None


def _typed(side: str) -> Place | None:
    text = st.text_input(
        "folder",
        key=f"{side}-folder",
        bind="query-params",
        placeholder="results/before",
        help="A results folder of this machine, one benchmark's folder in it, or a packed file.",
    )
    if not text:
        st.info("Type the path of a results folder.")
        return None
    folder, optimizer = parted(str(Path(text).expanduser()), side.upper())
    if optimizer is not None:
        raise UserError(f"{side.upper()} {text}: type the folder alone, and choose the optimizer below")
    names = [] if is_packed(folder) else benchmarks_in(folder)
    name = select("benchmark", names, f"{side}-benchmark") if len(names) > 1 else None
    results = results_at(folder, side.upper(), name)
    return Place(results.path if results.packed else results.path.parent, results.name)
