"""Claims: the ledger by section, and each claim opened to its numbers, its interval against the bound, its picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import streamlit as st

from thalweg.app.data import Source, plugin_files, registry, sources
from thalweg.app.drawing import show_chart, show_table
from thalweg.app.sidebar import select
from thalweg.claims.read import ClaimRow, entries_of, read_row, tiers_of
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.present import claims as present
from thalweg.present.charts.claims import parts_chart
from thalweg.present.sentences import capital, plain
from thalweg.store.claims import ClaimResults

ALL = "all claims"
Color = Literal["green", "blue", "orange", "gray"]
_COLORS: dict[str, Color] = {
    "holds": "blue",
    "holds conditionally": "green",
    "not reproduced": "orange",
    "inconclusive": "gray",
    "not measured": "gray",
    "not decided": "orange",
}


def show() -> None:
    """Draw the page."""
    here = registry()
    entries = entries_of(here)
    if not entries:
        st.title("Claims")
        st.write("No plugin registers a claim.")
        return
    source = _source(sources())
    left, right = st.columns([1, 2])
    with left:
        tier = select("tier", tiers_of(entries), "tier", "quick")
    try:
        if refusal := ClaimResults(source.path).refusal:
            raise UserError(refusal)
        rows = load(source.path, tier)
    except UserError as error:
        st.error(plain(str(error)))
        return
    names = [row.entry.name for row in rows]
    asked = st.query_params.get("claim", "")
    by_case = {name.lower(): name for name in names}
    if asked not in names and asked.lower() in by_case and "claim" not in st.session_state:
        st.query_params["claim"] = by_case[asked.lower()]
    with right:
        chosen = select("claim", [ALL, *names], "claim", ALL)
    if chosen == ALL:
        _ledger(rows, tier)
    else:
        _claim(rows[names.index(chosen)])


def load(root: Path, tier: str) -> list[ClaimRow]:
    """The claims of a tier; read again only when something changed on disk."""
    return _load(str(root.absolute()), tier, _stamp(root), plugin_files())


@st.cache_resource(show_spinner="Reading claims", max_entries=8)
def _load(root: str, tier: str, content: tuple[tuple[str, int], ...], files: tuple[str, ...]) -> list[ClaimRow]:
    here = registry()
    results = ClaimResults(Path(root))
    entries = [entry for entry in entries_of(here) if tier in entry.component.tiers]
    return [read_row(entry, tier, results, here) for entry in entries]


def _stamp(root: Path) -> tuple[tuple[str, int], ...]:
    """Names and times of everything that claims are read from."""
    results = ClaimResults(root)
    if results.packed:
        return (("packed", os.stat(results.path).st_mtime_ns),)  # noqa: PTH116 - a path inside may be no file
    found = []
    for id_ in results.ids:
        for name in results.files.names(id_):
            with suppress(OSError):
                found.append((f"{id_}/{name}", results.files.stamp(f"{id_}/{name}/claim.json")))
    return tuple(found)


def _source(there: Sequence[Source]) -> Source:
    """The source that is chosen in the sidebar."""
    key = st.session_state.get("source")
    return next((source for source in there if source.key == key), there[0])


def badge(row: ClaimRow) -> None:
    """Draw a claim's verdict."""
    st.badge(f"{present.MARKS[row.verdict]} {present.verdict_of_row(row)}", color=_COLORS[row.verdict])


def _open(name: str) -> None:
    st.session_state["claim"] = name


def _ledger(rows: Sequence[ClaimRow], tier: str) -> None:
    st.title("Claims")
    st.write(
        "Statements about the optimization of deep networks. A rule decides each; it was fixed before the first run."
    )
    verdicts = [verdict for verdict in present.MARKS if any(row.verdict == verdict for row in rows)]
    text = st.text_input("search", key="search", bind="query-params", placeholder="a word, a name, an id")
    wanted = st.pills(
        "verdict",
        verdicts,
        selection_mode="multi",
        key="verdict",
        bind="query-params",
    )
    st.caption(plain(present.counts(rows)))
    kept = [row for row in rows if _found(row, text or "") and (not wanted or row.verdict in wanted)]
    if not any(row.stored for row in rows):
        st.info("Nothing is measured here yet. This command measures all claims:")
        st.code(f"thalweg claims run --tier {tier} -j 2", language="bash")
    if not kept:
        st.write("No claim has these words and verdicts.")
    with st.container(key="ledger"):
        # Streamlit centres the lines of a button, and a claim has several on a small screen
        st.html(
            "<style>.st-key-ledger button, .st-key-ledger button * {justify-content: start; text-align: left;}</style>"
        )
        for section in dict.fromkeys(row.claim.section for row in kept):
            st.subheader(plain(section or "Other claims"))
            for row in (row for row in kept if row.claim.section == section):
                badge = f":{_COLORS[row.verdict]}-badge[{present.MARKS[row.verdict]} {present.verdict_of_row(row)}]"
                st.button(
                    f"**{row.entry.name}** {plain(capital(row.claim.summary))} {badge}",
                    key=f"open-{row.entry.name}",
                    type="tertiary",
                    on_click=_open,
                    args=(row.entry.name,),
                )


def _found(row: ClaimRow, text: str) -> bool:
    claim = row.claim
    words = " ".join((row.entry.name, claim.summary, claim.statement, claim.section, claim.source)).lower()
    return all(word in words for word in text.lower().split())


def _claim(row: ClaimRow) -> None:
    claim = row.claim
    st.button("← all claims", key="back", type="tertiary", on_click=_open, args=(ALL,))
    st.title(plain(row.entry.name))
    st.subheader(plain(capital(claim.summary)))
    badge(row)
    st.markdown(plain(claim.statement))
    if row.decision is None:
        st.info("Not measured here yet. This command measures the claim:")
        st.code(f"thalweg claims run {row.entry.name} --tier {row.tier}", language="bash")
    else:
        if row.decision.condition:
            st.markdown(f"**Condition:** {plain(row.decision.condition)}")
        if (chart := parts_chart(row.decision.parts)) is not None:
            show_chart(chart, "parts")
            st.caption("The interval of each part against its bound. Each row has a scale of its own.")
        try:
            show_chart(claim.chart(row.table), "picture")
        except Exception as error:  # a plugin's mistake
            st.error(plain(f"The picture cannot be drawn: {Failure.of(error).line}"))
        show_table(present.parts_table(row.decision.parts))
    for note in (*row.notes, *present.lost(row)):
        st.warning(plain(note))
    kind = f"{capital(present.kind_of(claim))}."
    texts = (
        ("The rule cannot decide", claim.fault),
        ("What was done", claim.method),
        ("What later literature says", claim.caveat),
        ("Source", claim.source),
    )
    for title, text in (("Kind", kind), *texts):
        if text:
            st.markdown(f"**{title}.** {plain(text)}")
    if row.stored is not None:
        about = row.stored.document
        st.caption(
            plain(
                f"{row.seeds} of {claim.seeds[row.tier]} seeds; {row.seconds:.1f} s, of which"
                f" {about.training_seconds:.1f} s of training; {about.environment.get('cpu', '')}"
            )
        )
        st.markdown("**To make it again**")
        st.code(present.command(row), language="bash")
