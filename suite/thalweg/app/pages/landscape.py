"""The landscape: what probes measured, drawn by the probes themselves; up to four planes side by side, and the path."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from thalweg.app.data import Source, probe_table, registry
from thalweg.app.drawing import draw_probe, show_frame
from thalweg.app.links import link
from thalweg.app.sharing import share
from thalweg.app.sidebar import select, select_many, select_one, tell_ignored
from thalweg.contracts import Probe
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.present.loaded import Loaded
from thalweg.present.probes import Measured, first_titles, networks_of, probes_by_label
from thalweg.present.sentences import plain
from thalweg.present.tables import facts
from thalweg.present.way import PLAY_SECONDS, steps_of, until
from thalweg.store.overlay import laid_over

MOST_DRAWN = 8
"""The most trials in one picture; more are slow to draw and hard to read."""
MOST_ROWS = 100_000
"""The most rows of a table that are drawn, of a probe whose pictures do not thin long tables themselves."""
MOST_LISTED = 1000
"""The most rows of a table that are listed."""
CAMERAS: Mapping[str, Mapping[str, float]] = {
    "corner": {"x": 1.3, "y": -1.3, "z": 0.9},
    "side": {"x": 0.0, "y": -2.0, "z": 0.3},
    "above": {"x": 0.0, "y": -0.01, "z": 2.2},
}
"""Where the eye is, by name; all planes have one camera."""
CHART = "chart"


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    st.title("Landscape")
    view = loaded.view
    laid = laid_over(view.everything.results)
    tell_ignored(laid)
    probes = probes_by_label(view.seen.trials, view.stored, laid)
    if not probes:
        st.info("No probe was measured on this benchmark: add a `[probes.surface]` table to its file and run it again.")
        link("Probes", "docs", doc="probes")
        return
    # the plane of the path comes first: it shows the way of the optimizer, and a random plane only the end
    surfaces = sorted(
        (label for label, probe in probes.items() if probe.ref.name == "surface"),
        key=lambda label: probes[label].ref.options.get("directions") != "path",
    )
    one = probes[select("probe", list(probes), "probe", surfaces[0] if surfaces else None)]
    chosen = _trials(one)
    for title, error in one.failed.items():
        st.error(plain(f"{title}: the probe failed: {error.kind}: {error.message}"))
    table = _table(one, chosen)
    probe = _probe(one)
    if kinds := networks_of(loaded.benchmark, chosen):
        st.caption(plain(kinds))
    if here := [title for title in chosen if title in one.here]:
        st.caption(plain(f"Measured here, and no part of the packed results: {'; '.join(here)}."))
    if table is not None:
        if probe is not None:
            _pictures(one, probe, table)
        _data(one, probe, table)
    if probe is not None:
        _about(one, probe)


def _trials(one: Measured) -> list[str]:
    """The chosen trials; those of a workload or an optimizer that a link names come first."""
    titles = list(one.done)
    wanted = [f"{st.query_params.get('workload', '')} · ", f" · {st.query_params.get('optimizer', '')} · "]
    linked = [title for title in titles if all(part.strip(" ·") == "" or part in title for part in wanted)]
    first = first_titles(linked if "optimizer" in st.query_params and linked else titles)
    return select_many("trials", titles, "trials", first, max_selections=MOST_DRAWN)


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


def _pictures(one: Measured, probe: Probe, table: pd.DataFrame) -> None:
    """Draw the probe's chart or one of its views; of a table with a path as much of the path as is asked for."""
    views = list(probe.views())
    picture = select_one("picture", [CHART, *views], "picture") if views else CHART
    every = 1 if probe.thins else -(-len(table) // MOST_ROWS)
    if every > 1:
        st.caption(f"The picture draws one of {every} rows of {len(table):,}.")
        table = table.iloc[::every]
    camera = CAMERAS[select_one("camera", list(CAMERAS), "camera")] if picture == "3-D" else None
    steps = steps_of(table)
    playing = bool(steps) and st.toggle("play the path", key="play")

    def draw() -> None:
        shown = until(table, _step(steps, playing)) if steps else table
        draw_probe(probe, shown, "" if picture == CHART else picture, camera)

    # a fragment draws itself again, and not the whole page
    st.fragment(draw, run_every=PLAY_SECONDS if playing else None)()


def _step(steps: list[float], playing: bool) -> float:
    """The step up to which the path is drawn: the slider's, which moves by itself while the path plays."""
    if playing:
        # the first picture of a play is the start, and after the end it begins again
        place = st.session_state.get("way-place", -1) + 1
        st.session_state["way-place"] = place = place if place < len(steps) else 0
        st.session_state["way"] = steps[place]
    elif st.session_state.get("way") not in (None, *steps):
        del st.session_state["way"]
    chosen: float = st.select_slider(
        "path up to step", steps, value=steps[-1], key="way", format_func=lambda step: f"{step:,.0f}"
    )
    return chosen


def _data(one: Measured, probe: Probe | None, table: pd.DataFrame) -> None:
    with st.expander("Table"):
        if len(table) > MOST_LISTED:
            st.caption(f"The first {MOST_LISTED:,} of {len(table):,} rows; Share has all of them.")
        columns = {column.name: column for column in probe.columns} if probe else {}
        st.dataframe(
            table.head(MOST_LISTED),
            hide_index=True,
            width="stretch",
            column_config={
                name: st.column_config.Column(
                    f"{name} ({column.unit})" if column.unit else name, help=column.summary or None
                )
                for name, column in columns.items()
            },
        )
    share(one.key, tables={"table": table})


def _about(one: Measured, probe: Probe) -> None:
    st.subheader("About this probe")
    st.markdown(plain(probe.summary))
    if probe.equation:
        st.code(probe.equation, language=None, wrap_lines=True)
    if probe.source:
        st.caption(plain(f"Source: {probe.source}"))
    try:
        settings = resolve(probe.options, one.ref.options, probe.name)
    except UserError:
        settings = one.ref.options  # measured by another revision of the plugin
    show_frame(
        facts({"provider": one.ref.provider, "revision": one.ref.revision, **settings}),
        column_config={"what": st.column_config.TextColumn("setting", width=140)},
    )
