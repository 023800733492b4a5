"""Tuning: the settings that were tried, the best of them, and what a larger budget gains."""

from __future__ import annotations

import streamlit as st

from thalweg.app.data import Source
from thalweg.app.drawing import show_picture, show_table
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import plain
from thalweg.present.tuning import best_table, budget_picture, sensitivity_picture
from thalweg.scoring.tuning import best_settings


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    title = loaded.benchmark.spec.title if loaded.benchmark else ""
    st.title(plain(f"{title or loaded.name}: tuning"))
    view = loaded.view
    plan = view.plan
    if plan is None or not plan.outcomes:
        st.info("This benchmark does not tune: its file holds the settings. See the docs for `[tuning]`.")
        return
    if not plan.settled:
        st.info("Not all settings have been tried yet: run the benchmark again to go on.")
    best = best_settings(plan)
    for number, (name, workload) in enumerate(plan.workloads.items()):
        st.subheader(name, anchor=name)
        if rates := sensitivity_picture(view, plan, workload):
            show_picture(rates, f"rates-{number}")
        show_table(best_table(best, workload), f"best-{name}")
        if budgets := budget_picture(view, plan, workload):
            show_picture(budgets, f"budgets-{number}")
