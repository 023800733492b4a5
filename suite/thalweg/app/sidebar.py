"""The choice of results that all pages share, and the page without results."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from thalweg.app.data import Source, load, sources
from thalweg.present import notes
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import plain
from thalweg.shown import brief
from thalweg.store.overlay import Laid
from thalweg.store.roots import benchmarks_in

T = TypeVar("T", bound=str)
V = TypeVar("V")

SHARED = ("source", "benchmark")
"""The choices of the sidebar. Pages tell what an address asks for in vain, since a sidebar may be closed."""


def remember() -> None:
    """Take the shared choices of an address that a link, or the browser's own buttons, changed.

    This comes before anything that takes time. A click on another page, while the first page loads, ends the first
    page's run, and the address of the other page has no choices.
    """
    for key in SHARED:
        asked = st.query_params.get(key)
        if asked is not None and asked != st.session_state.get(_shown(key)):
            st.session_state[_chosen(key)] = asked
            st.session_state[_shown(key)] = asked


def share_choice(label: str, options: Sequence[T], key: str, default: T | None = None) -> T:
    """A select box of a choice that all pages share; the address always holds it.

    The widget is not bound to the address: a bound widget that exists keeps its value when a link changes the address.
    """
    choices = sorted(options, key=lambda option: option != default)
    wanted = st.session_state.get(_chosen(key), choices[0])
    if wanted in choices:
        st.session_state.pop(_unknown(key), None)
    else:
        st.session_state[_unknown(key)] = _not_among(label, wanted, choices, choices[0])
        wanted = choices[0]
    st.session_state[key] = wanted

    def chose() -> None:
        st.session_state[_chosen(key)] = st.session_state[key]

    chosen: T | None = st.selectbox(label, choices, key=key, on_change=chose)
    found = choices[0] if chosen is None else chosen
    st.session_state[_shown(key)] = found
    if st.query_params.get(key) != found:
        st.query_params[key] = found
    return found


def _chosen(key: str) -> str:
    """The place in the session of a shared choice."""
    return f"chosen-{key}"


def _shown(key: str) -> str:
    """The place in the session of the shared choice that the address holds."""
    return f"shown-{key}"


def select(label: str, options: Sequence[T], key: str, default: T | None = None) -> T:
    """A select box of one option or more, the default first; ``key`` holds the choice in the page's address."""
    choices = sorted(options, key=lambda option: option != default)
    asked = st.query_params.get(key)
    if asked is not None and asked not in choices and key not in st.session_state:
        st.session_state[_unknown(key)] = _not_among(label, asked, choices, choices[0])
    if key in st.session_state and st.session_state[key] not in choices:
        # the options changed: another workload or benchmark, or results were deleted
        st.session_state[key] = choices[0]
    chosen: T | None = st.selectbox(
        label, choices, key=key, bind="query-params", on_change=lambda: st.session_state.pop(_unknown(key), None)
    )
    if told := st.session_state.get(_unknown(key)):
        st.warning(plain(told))
    return choices[0] if chosen is None else chosen


def select_many(label: str, options: Sequence[str], key: str, first: Sequence[str], **settings: Any) -> list[str]:
    """A box of several choices, ``first`` at first; ``key`` holds the choices in the page's address.

    Where the options change, choices that nobody made become the new first ones.
    """
    before = _first(key)
    asked = st.query_params.get_all(key) if key not in st.session_state else []
    if unknown := [name for name in asked if name not in options]:
        st.warning(plain(f"Unknown among {label}: {', '.join(map(repr, unknown))}."))
    there = st.session_state.get(key)
    if there and (there == st.session_state.get(before) or not set(there) <= set(options)):
        kept = [name for name in there if name in options]
        st.session_state[key] = list(first) if there == st.session_state.get(before) else kept or list(first)
    st.session_state[before] = list(first)
    chosen: list[str] = st.multiselect(label, options, default=list(first), key=key, bind="query-params", **settings)
    return chosen


def _first(key: str) -> str:
    """The place in the session of the choices that a box had at first."""
    return f"first-{key}"


def select_one(label: str, options: Sequence[T], key: str) -> T:
    """A row of buttons of which one is chosen, the first at first; ``key`` holds the choice in the page's address."""
    asked = st.query_params.get(key)
    if asked is not None and asked not in options and key not in st.session_state:
        st.session_state[_unknown(key)] = _not_among(label, asked, options, options[0])
    if st.session_state.get(key) not in (None, *options):
        st.session_state[key] = options[0]
    chosen: T | None = st.segmented_control(
        label,
        options,
        default=options[0],
        required=True,
        key=key,
        bind="query-params",
        on_change=lambda: st.session_state.pop(_unknown(key), None),
    )
    if told := st.session_state.get(_unknown(key)):
        st.warning(plain(told))
    return options[0] if chosen is None else chosen


def words(label: str, key: str, placeholder: str) -> str:
    """A box for a text, which ``key`` holds in the page's address."""
    return st.text_input(label, key=key, bind="query-params", placeholder=placeholder) or ""


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


def _not_among(label: str, asked: str, options: Sequence[str], shown: str) -> str:
    """The sentence that a choice is not there, with the nearest one where it is not the one that is shown."""
    near = difflib.get_close_matches(asked, options, 1, 0.5)
    hint = f"; the nearest is {near[0]!r}" if near and near[0] != shown else ""
    return f"Unknown {label} {brief(asked)}: the page shows {shown!r}{hint}."


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
    remember()
    there = sources()
    with st.sidebar:
        by_key = {source.key: source for source in there}
        keys = list(by_key)
        # keys and not labels, since Streamlit puts the shown text into the address
        source = by_key[share_choice("results", keys, "source")]
        st.caption(plain(source.label))
        names = benchmarks_in(source.path)
        if not names:
            return None
        name = share_choice("benchmark", names, "benchmark", "quick")
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
        _tell(note)


def tell_ignored(laid: Laid, hash_: str = "") -> None:
    """Draw a warning about what was measured here of packed trials, or of one of them, and does not count."""
    if note := notes.ignored(laid, hash_):
        _tell(note)


def _tell(note: notes.Note) -> None:
    st.warning("\n\n".join([plain(note.text), "\n".join(f"- {plain(item)}" for item in note.items)]))
