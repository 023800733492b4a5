"""Compare: two trials, two optimizers, or two benchmarks' results."""

from __future__ import annotations

import streamlit as st

from thalweg.app.data import Source
from thalweg.app.pages import compare_sides, compare_trials
from thalweg.app.places import follow
from thalweg.present.loaded import Loaded
from thalweg.present.pair import SIDES

KINDS = ("optimizers", "trials", "benchmarks")


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    st.title("Compare")
    follow(source, loaded.name, SIDES)
    kind = st.segmented_control(
        "what to compare", KINDS, default=KINDS[0], required=True, key="kind", bind="query-params"
    )
    if kind == "trials":
        compare_trials.show(source, loaded)
    else:
        compare_sides.show(source, loaded, optimizers=kind != "benchmarks")
