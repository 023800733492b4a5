"""Looks: what ``thalweg look`` and ``Look.save`` wrote into a folder, with the probe's charts."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from thalweg.app.data import registry, sources
from thalweg.app.drawing import draw_probe, show_frame
from thalweg.app.sidebar import select, select_one
from thalweg.errors import UserError
from thalweg.present.looks import SavedLook, looks_in, read_look
from thalweg.present.sentences import plain
from thalweg.present.tables import facts


def there() -> list[tuple[Path, Path]]:
    """Every look of every source, with the folder in which it was found."""
    return [(path, source.path) for source in sources() for path in looks_in(source.path)]


def show() -> None:
    """Draw the page."""
    st.title("Looks")
    found = {path.relative_to(root).as_posix(): path for path, root in there()}
    if not found:
        st.write("`thalweg look surface … --out FOLDER` measures a network of your own. This page shows such folders:")
        st.code("thalweg app --results FOLDER", language="bash")
        return
    path = found[select("file", list(found), "look")]
    try:
        look = read_look(path, registry())
    except UserError as error:
        st.error(plain(str(error)))
        return
    st.caption(plain(f"{look.probe.name}: {look.probe.summary}"))
    views = list(look.probe.views())
    first = "chart"
    view = select_one("picture", [first, *views], "look-picture")
    draw_probe(look.probe, look.table, "" if view == first else view)
    _about(look)
    text, name = look.table.to_csv(index=False), f"{path.stem}.csv"
    st.download_button("Download as CSV", text, file_name=name, mime="text/csv", on_click="ignore")


def _about(look: SavedLook) -> None:
    options = {key: value for key, value in look.settings["options"].items() if key not in look.settings}
    settings = {**look.settings, **options}
    show_frame(
        facts({key: value for key, value in settings.items() if isinstance(value, str | int | float)}),
        column_config={"what": st.column_config.TextColumn("setting", width=140)},
    )
