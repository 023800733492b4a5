"""The app's entry: the frame around the pages."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from thalweg.app import page_curves, page_landscape, page_leaderboard, page_plugins, page_trial, page_tuning
from thalweg.app.data import Source
from thalweg.app.loaded import Loaded
from thalweg.app.sidebar import choose, warnings, welcome
from thalweg.app.words import plain
from thalweg.errors import UserError

Show = Callable[[Source, Loaded], None]

# a string below would be shown on the page: streamlit writes out what stands alone in the script it runs
# title, icon, address and content of the pages that show results
PAGES: tuple[tuple[str, str, str, Show], ...] = (
    ("Leaderboard", ":material/leaderboard:", "leaderboard", page_leaderboard.show),
    ("Tuning", ":material/tune:", "tuning", page_tuning.show),
    ("Learning curves", ":material/show_chart:", "curves", page_curves.show),
    ("Landscape", ":material/landscape:", "landscape", page_landscape.show),
    ("Trial", ":material/science:", "trial", page_trial.show),
)


def main() -> None:
    """Draw the frame and the page that is chosen."""
    st.set_page_config(page_title="thalweg", page_icon="⛰️", layout="wide")

    def page(show: Show) -> Callable[[], None]:
        return lambda: draw(show, chosen)

    pages = [
        st.Page(page(show), title=title, icon=icon, url_path=address, default=show is PAGES[0][3])
        for title, icon, address, show in PAGES
    ]
    pages.append(st.Page(page_plugins.show, title="Plugins", icon=":material/extension:", url_path="plugins"))
    current = st.navigation(pages)
    try:
        # outside the pages, so that the choice stays from one to the next
        chosen = choose()
    except UserError as error:
        st.error(plain(str(error)))
        return
    current.run()


def draw(show: Show, chosen: tuple[Source, Loaded] | None) -> None:
    """A page that shows the chosen results, or what to do when there are none."""
    if chosen is None:
        welcome()
        return
    warnings(chosen[1])
    show(*chosen)


if __name__ == "__main__":
    main()
