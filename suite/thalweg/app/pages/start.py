"""Start: what this is, what was found, the way to each task, the newest trials, and how to add an optimizer."""

from __future__ import annotations

from typing import Any

import streamlit as st

from thalweg.app.data import Source, sources
from thalweg.app.drawing import show_chart
from thalweg.app.links import link
from thalweg.app.pages.claims import badge, load
from thalweg.app.sidebar import select_one, warnings, welcome
from thalweg.claims.read import ClaimRow
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import capital, plain, title_of
from thalweg.present.start import FEATURED, OWN, OWN_COMMANDS, TASKS
from thalweg.store.claims import ClaimResults
from thalweg.store.roots import benchmarks_in

NEWEST = 6
"""The newest trials, and the trials that did not end well, that the page names."""


def show(chosen: tuple[Source, Loaded] | None) -> None:
    """Draw the page."""
    warnings(chosen[1] if chosen else None)
    st.title("thalweg")
    st.markdown(
        "thalweg measures how optimizers train deep networks, and shows the loss landscapes that they move through. "
        "Every number has an interval and a command that makes it again."
    )
    _tasks()
    _findings()
    if chosen is None:
        welcome()
    else:
        _trials(*chosen)
    _own()


def _tasks() -> None:
    st.subheader("Find out")
    there = {name: source.key for source in reversed(sources()) for name in benchmarks_in(source.path)}
    links: list[tuple[str, str, str, dict[str, Any]]] = []
    for task in TASKS:
        wanted = task.query.get("benchmark")
        if wanted is None or wanted in there:
            place = {} if wanted is None else {"source": there[str(wanted)]}
            links.append((task.question, task.page, task.icon, {**place, **task.query}))
    links.append(("How do I add my optimizer?", "docs", ":material/extension:", {"doc": "plugins"}))
    # in columns, and not in rows that wrap: their height is known before the links are drawn
    for column, some in zip(st.columns(2), (links[::2], links[1::2]), strict=True):
        with column:
            for question, page, icon, query in some:
                link(question, page, icon, **query)


def _findings() -> None:
    rows = _featured()
    if not rows:
        return
    st.subheader("What came out")
    for column, row in zip(st.columns(len(rows)), rows, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.markdown(f"**{plain(capital(row.claim.summary))}**")
            badge(row)
            link(f"How it was decided: {row.entry.name}", "claims", claim=row.entry.name)
    names = {row.entry.name: row for row in rows}
    row = names[select_one("picture of", list(names), "finding")]
    try:
        show_chart(row.claim.chart(row.table), "finding-picture")
    except Exception as error:  # a plugin's mistake
        st.caption(plain(f"The picture cannot be drawn: {Failure.of(error).line}"))
    link("All claims", "claims", ":material/gavel:")


def _featured() -> list[ClaimRow]:
    """The featured claims that are measured in the first source that has claims."""
    for source in sources():
        results = ClaimResults(source.path)
        try:
            if not results.refusal and results.ids:
                found = {row.entry.name: row for row in load(source.path, "quick") if row.decision is not None}
                return [found[name] for name in FEATURED if name in found]
        except UserError:
            continue  # the page of claims says what is wrong
    return []


def _trials(source: Source, loaded: Loaded) -> None:
    trials = loaded.view.everything.trials
    if trials.empty:
        return
    st.subheader(plain(f"Trials of {loaded.name}"))
    counts = trials["status"].value_counts()
    with_tuning = ", with those of tuning" if loaded.view.plan and loaded.view.plan.outcomes else ""
    st.caption(plain(", ".join(f"{number:,} {status}" for status, number in counts.items()) + with_tuning))
    left, right = st.columns(2)
    with left:
        # a packed file has one time for all trials
        known = trials["json_ns"].nunique() > 1
        st.markdown("**The newest**" if known else "**The first by name**")
        newest = (
            trials.sort_values("json_ns", ascending=False, kind="stable")
            if known
            else trials.sort_values(["workload", "optimizer", "seed"])
        )
        _links(newest.head(NEWEST), source, loaded)
    with right:
        st.markdown("**Diverged or failed**")
        bad = trials[trials["status"].isin(["diverged", "failed"])]
        if bad.empty:
            st.caption("No trial.")
        _links(bad.head(NEWEST), source, loaded)
        if len(bad) > NEWEST:
            link(f"All {len(bad):,}", "trials", status="diverged" if (bad["status"] == "diverged").any() else "failed")


def _links(rows: object, source: Source, loaded: Loaded) -> None:
    for row in rows.to_dict("records"):  # type: ignore[attr-defined]
        name = title_of(row["workload"], row["optimizer"], row["seed"])
        link(plain(name), "trial", source=source.key, benchmark=loaded.name, trial=row["hash"])


def _own() -> None:
    st.subheader("Add your own optimizer", anchor="own")
    st.markdown("Save this as `mine.py`. Any `torch.optim.Optimizer` can be registered so, unchanged.")
    st.code(OWN, language="python")
    st.code(OWN_COMMANDS, language="bash")
    with st.container(horizontal=True):
        link("Writing a plugin", "docs", doc="plugins")
        link("Tutorial", "docs", doc="tutorial")
        link("Plugins that are loaded", "plugins")
