"""The leaderboard's section of ladders."""

from __future__ import annotations

import streamlit as st

from thalweg.app.drawing import show_picture, show_table
from thalweg.present.ladders import INTRODUCTION, matrix, picture, scores_of
from thalweg.present.loaded import Loaded


def show(loaded: Loaded) -> None:
    """Draw the matrix, if the benchmark has ladders."""
    scores = scores_of(loaded)
    if scores is None or scores.empty:
        return
    st.subheader("Ladders", anchor="ladders")
    st.markdown(INTRODUCTION)
    show_picture(picture(scores), "ladders-picture")
    show_table(matrix(scores), "ladders")
