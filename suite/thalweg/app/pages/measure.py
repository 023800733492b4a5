"""The trial page's section that measures a further probe."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import PurePath

import streamlit as st

from thalweg.app import measuring
from thalweg.app.data import Source, registry, short
from thalweg.app.links import link
from thalweg.app.measuring import Asked, Job
from thalweg.present.sentences import plain
from thalweg.store.overlay import OVERLAY, weights_of
from thalweg.store.roots import own_root
from thalweg.store.trials import StoredTrial

SECONDS = 1.0
"""The time between two looks at a measurement at work."""


def show(source: Source, benchmark: str, packed: bool, stored: StoredTrial) -> None:
    """Draw the section, for a trial that trained to its end."""
    if stored.document.status != "done":
        return
    st.subheader("Measure a probe")
    if not weights_of(stored.document):
        st.caption(
            "No probe can be measured on this trial, because it was saved without its weights: "
            "`thalweg run --keep weights` keeps them."
        )
        return
    if refusal := measuring.refusal(source.path, packed):
        st.caption(refusal)
        return
    if packed:
        place = short(own_root() / OVERLAY)
        st.caption(plain(f"The results are packed and stay as they are. What is measured here is kept in {place}."))
    hash_ = stored.document.hash
    job = measuring.of(source.path, hash_)
    if job is not None and job.running:
        st.fragment(_follow, run_every=SECONDS)(job)
        return
    if job is not None:
        _ended(job, source, benchmark)
    names, more = _measurable(weights_of(stored.document))
    if st.session_state.get("measure-probe") not in (None, *names):
        del st.session_state["measure-probe"]  # chosen on the page of another trial
    with st.form("measure", border=True):
        # the form is not there while a measurement runs, and both choices stay
        name = st.selectbox("probe", names, key="measure-probe", persist_state="session")
        text = st.text_input(
            "settings", key="measure-settings", placeholder="resolution=11 examples=256", persist_state="session"
        )
        if more:
            st.caption(plain(f"{', '.join(more)}: these probes need weights that were not saved, see --keep."))
        if st.form_submit_button("Measure"):
            try:
                settings = tuple(shlex.split(text))
            except ValueError as error:
                st.error(plain(f"settings: {error}"))
                return
            measuring.start(Asked(source.path, hash_, str(name), settings))
            st.rerun()


def _measurable(weights: Collection[str]) -> tuple[list[str], list[str]]:
    """The probes that measure a trial with these files of weights, and the probes that need further weights."""
    there = {PurePath(name).stem for name in weights}
    names: tuple[list[str], list[str]] = [], []
    for entry in registry().entries("probes"):
        probe = entry.component
        if set(probe.when) != {"pair"}:
            names[not probe.measured_on <= there].append(entry.name)
    return names


def _follow(job: Job) -> None:
    """Draw a measurement at work; once it has ended, the whole page."""
    if not job.running:
        st.rerun()
    st.write(plain(f"{job.asked.probe} is being measured: {job.seconds:,.0f} s"))
    if line := job.last_line:
        st.caption(plain(line))
    st.button("Cancel", on_click=job.cancel, disabled=job.cancelled)


def _ended(job: Job, source: Source, benchmark: str) -> None:
    name = job.asked.probe
    if job.interrupted:
        st.info(plain(f"{name}: cancelled. Measured again, it goes on where it can."))
    elif job.failed:
        st.error(plain(f"{name} was not measured: {job.last_line or 'the process ended without a word'}"))
    else:
        st.success(plain(f"{name} was measured in {job.seconds:,.0f} s."))
        link("Its landscape", "landscape", source=source.key, benchmark=benchmark)
    st.code(shlex.join(job.asked.words), language="bash", wrap_lines=True)
