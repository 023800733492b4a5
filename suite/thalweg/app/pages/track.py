"""The leaderboard's section of an optimization track."""

from __future__ import annotations

import streamlit as st

from thalweg.app.data import Source
from thalweg.app.drawing import show_picture, show_table
from thalweg.errors import UserError
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import plain
from thalweg.present.track import board, entries_of, introduction, picture, ranked
from thalweg.scoring.records import SUFFIX, Record, read_records


def show(source: Source, loaded: Loaded) -> None:
    """Draw the standings, if the benchmark has a track."""
    found = entries_of(loaded)
    track = loaded.benchmark.spec.track if loaded.benchmark else None
    if track is None or not found:
        return
    workload = loaded.view.workloads[track.workload]
    records: list[Record] = []
    try:
        records = read_records(source.path / f"{loaded.name}{SUFFIX}")
    except UserError as error:
        st.warning(plain(str(error)))
    record = records[-1] if records else None
    st.subheader("Steps to the target", anchor="track")
    st.markdown(plain(introduction(track, workload, record)))
    show_table(board(ranked(found, record), track.margin), "track")
    show_picture(picture(found, workload, loaded.view.optimizers), "track-picture")
