"""The choice of results that all pages share, and the page without results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

from thalweg.app.data import Source, load, sources
from thalweg.present import notes
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import plain
from thalweg.store.roots import benchmarks_in

T = TypeVar("T", bound=str)
V = TypeVar("V")

SHARED = ("source", "benchmark")
"""The choices of the sidebar. Pages tell what an address asks for in vain, since a sidebar may be closed."""


def remember() -> None:
    """Keep the shared choices of the address that opened the session.

    A click on another page, while the first page loads, ends the first page's run before its choices are the session's,
    and takes them out of the address.
    """
    for key in SHARED:
        if key in st.query_params:
            st.session_state[_kept(key)] = st.query_params[key]


def select(label: str, options: Sequence[T], key: str, default: T | None = None) -> T:
    """A select box of one option or more, the default first; ``key`` holds the choice in the page's address."""
    choices = sorted(options, key=lambda option: option != default)
    kept = st.session_state.get(_kept(key))
    # Streamlit leaves the first choice out of the address, and refuses to have it set there
    if kept in choices[1:] and key not in st.query_params and st.session_state.get(key) in (None, kept):
        # Streamlit takes the choice from the address, and shows it there again
        st.query_params[key] = kept
    asked = st.query_params.get(key)
    if asked is not None and asked not in choices and key not in st.session_state:
        st.session_state[_unknown(key)] = f"Unknown {label} {asked!r}: the page shows {choices[0]!r}."
    if key in st.session_state and st.session_state[key] not in choices:
        # the options changed: another workload or benchmark, or results were deleted
        st.session_state[key] = choices[0]
    chosen: T | None = st.selectbox(label, choices, key=key, bind="query-params", on_change=lambda: _chose(key))
    if key not in SHARED and (told := st.session_state.get(_unknown(key))):
        st.warning(plain(told))
    return choices[0] if chosen is None else chosen


def select_one(label: str, options: Sequence[T], key: str) -> T:
    """A row of buttons of which one is chosen, the first at first; ``key`` holds the choice in the page's address."""
    if st.session_state.get(key) not in (None, *options):
        st.session_state[key] = options[0]
    chosen: T | None = st.segmented_control(
        label, options, default=options[0], required=True, key=key, bind="query-params"
    )
    return options[0] if chosen is None else chosen


def _chose(key: str) -> None:
    """Forget what the address asked for: the user has chosen something else."""
    st.session_state.pop(_unknown(key), None)
    st.session_state.pop(_kept(key), None)


def _kept(key: str) -> str:
    """The place in the session of a choice that an address held."""
    return f"kept-{key}"


def number(label: str, key: str, draw: Callable[[Callable[..., None]], V]) -> V:
    """The value of a widget of numbers, bound to the address; the page tells what an address asks for in vain.

    Args:
        label: the widget's.
        key: the widget's.
        draw: draws the widget with this ``on_change``, and returns its value.
    """
    asked = st.query_params.get(key) if key not in st.session_state else None

    def forget() -> None:
        st.session_state.pop(_unknown(key), None)

    value = draw(forget)
    if asked is not None and not _means(asked, value):
        # Streamlit shows the default without a word
        st.session_state[_unknown(key)] = f"{label} = {asked!r} cannot be shown: the page shows {value}."
    if told := st.session_state.get(_unknown(key)):
        st.warning(plain(told))
    return value


def _means(asked: str, value: object) -> bool:
    """Whether a text in the address is this number, or the text of a number."""
    try:
        return float(asked) == float(str(value))
    except ValueError:
        return False


def _unknown(key: str) -> str:
    """The place in the session of a note that an address asks for what is not there."""
    return f"unknown-{key}"


def choose() -> tuple[Source, Loaded] | None:
    """The source and the benchmark that are chosen in the sidebar; None where the source has no results."""
    there = sources()
    with st.sidebar:
        by_key = {source.key: source for source in there}
        keys = list(by_key)
        # keys and not labels, since Streamlit puts the shown text into the address
        source = by_key[select("results", keys, "source")]
        st.caption(plain(source.label))
        names = benchmarks_in(source.path)
        if not names:
            return None
        name = select("benchmark", names, "benchmark", "quick")
        loaded = load(source.path, name)
        spec = loaded.benchmark.spec if loaded.benchmark else None
        if spec and spec.summary:
            st.caption(plain(spec.summary))
    return source, loaded


def welcome() -> None:
    """Say how to get results, on a page without any."""
    st.write("The pages show benchmarks that have been run. The first one to run takes about a minute:")
    st.code("thalweg run quick", language="bash")
    st.write("`thalweg list benchmarks` lists the others. The app looked for results in:")
    for source in sources():
        st.code(str(source.path.absolute()), language=None)
    st.caption("Another folder: `thalweg app --results DIR`, or the environment variable THALWEG_RESULTS.")


def warnings(loaded: Loaded | None) -> None:
    """Draw warnings about all results and about the chosen benchmark, above a page's content."""
    for key in SHARED:
        if told := st.session_state.get(_unknown(key)):
            st.warning(plain(told))
    refused = [note for source in sources() if (note := notes.refused(source.path))]
    for note in [*refused, *(notes.warnings(loaded) if loaded else [])]:
        st.warning("\n\n".join([plain(note.text), "\n".join(f"- {plain(item)}" for item in note.items)]))
