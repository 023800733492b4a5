"""The landscape: what probes measured, drawn by the probes themselves."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from thalweg.app.data import Source, probe_table, registry
from thalweg.app.drawing import draw_probe, show_frame
from thalweg.app.sidebar import select
from thalweg.contracts import Probe
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.present.loaded import Loaded
from thalweg.present.probes import Measured, probes_by_label
from thalweg.present.sentences import plain
from thalweg.present.tables import facts

MOST_DRAWN = 8
"""The most trials in one picture; more are slow to draw and hard to read."""


def show(_source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    st.title("Landscape")
    view = loaded.view
    probes = probes_by_label(view.seen.trials, view.stored)
    if not probes:
        st.info("No probe was measured on this benchmark: add a `[probes.surface]` table to its file and run it again.")
        return
    # the plane of the path comes first: it shows the way of the optimizer, and a random plane only the end
    surfaces = sorted(
        (label for label, probe in probes.items() if probe.ref.name == "surface"),
        key=lambda label: probes[label].ref.options.get("directions") != "path",
    )
    left, right = st.columns(2)
    with left:
        one = probes[select("probe", list(probes), "probe", surfaces[0] if surfaces else None)]
    with right:
        titles = list(one.done)
        chosen = st.multiselect(
            "trials", titles, default=titles[:1], key=f"trials-{one.key}", max_selections=MOST_DRAWN
        )
    for title, error in one.failed.items():
        st.error(plain(f"{title}: the probe failed: {error.kind}: {error.message}"))
    table = _table(one, chosen)
    probe = _probe(one)
    if table is not None:
        if probe is not None:
            draw_probe(probe, table, _picture(one, probe))
        _data(one, probe, table)
    if probe is not None:
        _about(one, probe)


def _table(one: Measured, chosen: list[str]) -> pd.DataFrame | None:
    """The tables of the chosen trials as one, with a column ``trial`` where several are chosen."""
    tables: dict[str, pd.DataFrame] = {}
    for title in chosen:
        try:
            tables[title] = probe_table(one.done[title], one.key)
        except (OSError, ValueError) as error:
            st.error(plain(f"{title}: the probe's table cannot be read: {type(error).__name__}"))
    if not tables:
        if one.done:
            st.info("Choose a trial.")
        return None
    if len(tables) == 1:
        return next(iter(tables.values()))
    return pd.concat([table.assign(trial=title) for title, table in tables.items()], ignore_index=True)


def _probe(one: Measured) -> Probe | None:
    try:
        return registry().probe(one.ref.name)
    except UserError as error:
        missing = f"The plugin {one.ref.provider!r} that provides this probe is not here, so there is no chart: {error}"
        st.warning(plain(missing))
        return None


def _picture(one: Measured, probe: Probe) -> str:
    """The name of the chosen view; empty for the probe's chart."""
    views = list(probe.views())
    if not views:
        return ""
    first = "chart"
    chosen = st.segmented_control("picture", [first, *views], default=first, required=True, key=f"picture-{one.key}")
    return "" if chosen in (None, first) else str(chosen)


def _data(one: Measured, probe: Probe | None, table: pd.DataFrame) -> None:
    with st.expander("Table"):
        columns = {column.name: column for column in probe.columns} if probe else {}
        st.dataframe(
            table,
            hide_index=True,
            width="stretch",
            column_config={
                name: st.column_config.Column(
                    f"{name} ({column.unit})" if column.unit else name, help=column.summary or None
                )
                for name, column in columns.items()
            },
        )
    st.download_button(
        "Download as CSV", table.to_csv(index=False), file_name=f"{one.key}.csv", mime="text/csv", on_click="ignore"
    )


def _about(one: Measured, probe: Probe) -> None:
    st.subheader("About this probe")
    st.markdown(probe.summary)
    if probe.equation:
        st.code(probe.equation, language=None, wrap_lines=True)
    if probe.source:
        st.caption(f"Source: {probe.source}")
    try:
        settings = resolve(probe.options, one.ref.options, probe.name)
    except UserError:
        settings = one.ref.options  # measured by another revision of the plugin
    show_frame(
        facts({"provider": one.ref.provider, "revision": one.ref.revision, **settings}),
        column_config={"what": st.column_config.TextColumn("setting", width=140)},
    )
