"""The leaderboard's section over all workloads."""

from __future__ import annotations

import streamlit as st

from thalweg.app.drawing import show_picture, show_table
from thalweg.present.over_all import introduction, left_out, pictures, standings
from thalweg.present.view import View


def show(view: View) -> None:
    """Draw the section, if two workloads or more have a target and results."""
    found = view.over_all
    if found is None:
        return
    st.subheader("Over all workloads", anchor="over-all")
    if found.table.empty:
        st.info(left_out(found, view))
        return
    st.markdown(introduction(found))
    show_table(standings(found), "over-all")
    for number, picture in enumerate(pictures(found, view.optimizers)):
        show_picture(picture, f"over-all-{number}")
    if reasons := left_out(found, view):
        st.caption(reasons)
