"""The frame around the pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from thalweg.app.addresses import tell_page, tell_parameters
from thalweg.app.data import Source, sources
from thalweg.app.links import know
from thalweg.app.pages import (
    claims,
    compare,
    curves,
    guide,
    landscape,
    leaderboard,
    live,
    looks,
    playground,
    plugins,
    start,
    trial,
    trials,
    tuning,
)
from thalweg.app.sidebar import choose, remember, warnings, welcome
from thalweg.errors import UserError
from thalweg.present.loaded import Loaded
from thalweg.present.looks import looks_in
from thalweg.present.sentences import plain
from thalweg.store.roots import benchmarks_in

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

Chosen = tuple[Source, Loaded] | None


class PageOf(NamedTuple):
    """A page: its title, icon and address, and what draws it."""

    title: str
    icon: str
    address: str
    show: Callable[[Chosen], None]


def draw(show: Callable[[Source, Loaded], None], chosen: Chosen) -> None:
    """Draw warnings and a page for the chosen results; without results, say how to get some."""
    warnings(chosen[1] if chosen else None)
    if chosen is None:
        st.title("No results yet")
        welcome()
        return
    show(*chosen)


def _of_results(show: Callable[[Source, Loaded], None]) -> Callable[[Chosen], None]:
    return lambda chosen: draw(show, chosen)


def _alone(show: Callable[[], None]) -> Callable[[Chosen], None]:
    return lambda _: show()


PAGES: Mapping[str, Sequence[PageOf]] = {
    "": (PageOf("Start", ":material/home:", "start", start.show),),
    "Results": (
        PageOf("Leaderboard", ":material/leaderboard:", "leaderboard", _of_results(leaderboard.show)),
        PageOf("Learning curves", ":material/show_chart:", "curves", _of_results(curves.show)),
        PageOf("Landscape", ":material/landscape:", "landscape", _of_results(landscape.show)),
        PageOf("Compare", ":material/compare_arrows:", "compare", _of_results(compare.show)),
        PageOf("Live", ":material/sensors:", "live", live.show),
        PageOf("Tuning", ":material/tune:", "tuning", _of_results(tuning.show)),
        PageOf("Trials", ":material/list:", "trials", _of_results(trials.show)),
        PageOf("Trial", ":material/science:", "trial", _of_results(trial.show)),
    ),
    "Lecture": (
        PageOf("Claims", ":material/gavel:", "claims", _alone(claims.show)),
        PageOf("Playground", ":material/sports_esports:", "playground", _of_results(playground.show)),
    ),
    "More": (
        PageOf("Looks", ":material/visibility:", "looks", _alone(looks.show)),
        PageOf("Plugins", ":material/extension:", "plugins", _alone(plugins.show)),
        PageOf("Docs", ":material/menu_book:", "docs", _alone(guide.show)),
    ),
}
"""The pages by the sections of the navigation. The page "Looks" is there where a source has looks."""


def _draws(page: PageOf, chosen: Sequence[Chosen]) -> Callable[[], None]:
    """What draws a page, once the results are chosen."""
    return lambda: page.show(chosen[0])


def main() -> None:
    """Draw the frame and the chosen page."""
    st.set_page_config(page_icon="⛰️", layout="wide")
    remember()
    has_looks = bool(looks.there())
    local = next(source for source in sources() if source.key == "local")
    first = "looks" if has_looks and looks_in(local.path) and not benchmarks_in(local.path) else "start"
    chosen: list[Chosen] = []
    drawn: dict[str, StreamlitPage] = {}
    sections: dict[str, list[StreamlitPage]] = {}
    for section, group in PAGES.items():
        for one in group:
            if one.address == "looks" and not has_looks:
                continue
            page = st.Page(
                _draws(one, chosen),
                title=one.title,
                icon=one.icon,
                url_path=one.address,
                default=one.address == first,
            )
            drawn[one.address] = page
            sections.setdefault(section, []).append(page)
    know(drawn)
    # Streamlit hides the last of more than twelve pages behind a button
    current = st.navigation(sections, expanded=True)
    st.set_page_config(page_title=f"{current.title} · thalweg")
    shown = next(address for address, page in drawn.items() if page == current)
    tell_page(shown, current.title, drawn)
    above = st.container()
    try:
        # outside of the pages, so that the choice stays when the page changes
        chosen.append(choose())
    except UserError as error:
        st.error(plain(str(error)))
        return
    current.run()
    # the page has drawn its choices
    with above:
        tell_parameters(shown)
