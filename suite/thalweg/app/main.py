"""The frame around the pages."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from thalweg.app.data import Source, sources
from thalweg.app.pages import claims, curves, landscape, leaderboard, looks, playground, plugins, trial, tuning
from thalweg.app.sidebar import choose, remember, warnings, welcome
from thalweg.errors import UserError
from thalweg.present.loaded import Loaded
from thalweg.present.looks import looks_in
from thalweg.present.sentences import plain
from thalweg.store.roots import benchmarks_in

Show = Callable[[Source, Loaded], None]

PAGES: tuple[tuple[str, str, str, Show], ...] = (
    ("Leaderboard", ":material/leaderboard:", "leaderboard", leaderboard.show),
    ("Tuning", ":material/tune:", "tuning", tuning.show),
    ("Learning curves", ":material/show_chart:", "curves", curves.show),
    ("Landscape", ":material/landscape:", "landscape", landscape.show),
    ("Playground", ":material/sports_esports:", "playground", playground.show),
    ("Trial", ":material/science:", "trial", trial.show),
)
"""Title, icon, address and content of the pages that show results."""


def main() -> None:
    """Draw the frame and the chosen page."""
    st.set_page_config(page_title="thalweg", page_icon="⛰️", layout="wide")
    remember()

    def page(show: Show) -> Callable[[], None]:
        return lambda: draw(show, chosen)

    has_looks = bool(looks.there())
    local = next(source for source in sources() if source.key == "local")
    only_looks = bool(looks_in(local.path)) and not benchmarks_in(local.path)
    pages = [
        st.Page(page(show), title=title, icon=icon, url_path=address, default=show is PAGES[0][3] and not only_looks)
        for title, icon, address, show in PAGES
    ]
    if has_looks:
        pages.append(
            st.Page(looks.show, title="Looks", icon=":material/visibility:", url_path="looks", default=only_looks)
        )
    pages.append(st.Page(claims.show, title="Claims", icon=":material/gavel:", url_path="claims"))
    pages.append(st.Page(plugins.show, title="Plugins", icon=":material/extension:", url_path="plugins"))
    current = st.navigation(pages)
    try:
        # outside of the pages, so that the choice stays when the page changes
        chosen = choose()
    except UserError as error:
        st.error(plain(str(error)))
        return
    current.run()


def draw(show: Show, chosen: tuple[Source, Loaded] | None) -> None:
    """Draw warnings and a page for the chosen results; without results, say how to get some."""
    warnings(chosen[1] if chosen else None)
    if chosen is None:
        welcome()
        return
    show(*chosen)
