"""What an address asks for in vain: pages and choices that are not there are named, with the nearest ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from streamlit.testing.v1 import AppTest

from app_server import serving
from support import APP_SCRIPT
from thalweg.app.addresses import PARAMETERS
from thalweg.app.links import KEPT
from thalweg.app.main import PAGES
from thalweg.app.pages.compare import KINDS
from thalweg.app.pages.playground import PLANE

Show = Callable[..., AppTest]
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
URL = "streamlit.runtime.context.ContextProxy.url"
WIDGETS = (
    "selectbox",
    "multiselect",
    "slider",
    "toggle",
    "text_input",
    "number_input",
    "button_group",
    "select_slider",
)


def told(page: AppTest) -> str:
    return "\n".join(each.value for each in page.warning).replace("\\", "")


def _choices() -> None:
    import streamlit as st

    from thalweg.app.addresses import tell_parameters

    st.selectbox("of this page alone", ["a", "b"], key="odd-choice", bind="query-params")
    tell_parameters("landscape")


def _place() -> None:
    from thalweg.app.addresses import tell_page

    tell_page("start", "Start", ["start", "trials", "trial", "landscape"])


def of(names: Iterable[str]) -> AppTest:
    """The page of a landscape, with these names in its address."""
    page = AppTest.from_function(_choices)
    for name in names:
        page.query_params[name] = "a"
    return page.run()


def test_an_unknown_choice_is_told_with_the_nearest() -> None:
    text = told(of(["pictre", "benchmrk", "zzz"]))
    assert text == (
        "The address asks for choices that this page does not have: 'pictre' (the nearest is 'picture'), "
        "'benchmrk' (the nearest is 'benchmark'), 'zzz'."
    )


@pytest.mark.parametrize("name", ["picture", "source", "camera", "odd-choice", "token", "embed", "embed_options"])
def test_what_a_page_or_streamlit_knows_is_not_told(name: str) -> None:
    assert told(of([name])) == ""


def test_many_and_long_and_strange_names_are_cut_and_shown_as_text() -> None:
    text = told(of(["x" * 10_000, "**bold**", ":material/home:", "d", "e"]))
    assert len(text) < 600
    assert "(10,000 characters)" in text
    assert text.endswith("and 2 more.")
    page = of(["**bold**"])
    assert "\\*\\*bold\\*\\*" in page.warning[0].value


ADDRESSES = [one.address for group in PAGES.values() for one in group if one.address != "looks"]
CHOICES: list[tuple[str, dict[str, str]]] = [
    *((address, {}) for address in ADDRESSES),
    *(("compare", {"kind": kind}) for kind in KINDS),
    ("landscape", {"picture": "3-D"}),
    ("playground", {"function": PLANE}),
    ("curves", {"beside": "tuned"}),
]


@pytest.mark.parametrize(("address", "choices"), CHOICES)
def test_every_choice_of_a_page_is_among_its_parameters(show: Show, address: str, choices: dict[str, str]) -> None:
    page = show("guide" if address == "docs" else address, REFERENCE, benchmark="quick", **choices)
    bound = {key for kind in WIDGETS for each in page.get(kind) if (key := each.proto.query_param_key)}
    known = [*PARAMETERS.get(address, ()), *KEPT]
    assert [key for key in bound if not any(fnmatchcase(key, pattern) for pattern in known)] == []
    # Streamlit tells which widgets are bound, so that the test does not pass for want of names
    assert bound or address == "tuning"
    assert choices.keys() <= bound
    assert not page.warning


def test_every_page_with_parameters_is_there() -> None:
    assert PARAMETERS.keys() <= {one.address for group in PAGES.values() for one in group}


def test_a_page_that_is_not_there_is_told_until_another_page_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(URL, "http://127.0.0.1:8501/trails?token=x")
    page = AppTest.from_function(_place).run()
    assert told(page) == "There is no page 'trails', so this is the page 'Start'."
    assert "[The nearest page is 'trials'](/trials)" in page.markdown[0].value
    # Streamlit takes the name out of the address
    monkeypatch.setattr(URL, "http://127.0.0.1:8501/")
    assert "no page 'trails'" in told(page.run())
    page.session_state["asked-page"] = ("trails", "landscape")
    assert told(page.run()) == ""
    assert "asked-page" not in page.session_state


@pytest.mark.parametrize("path", ["", "/", "/trials", "/start?nosuchpage=1"])
def test_a_page_that_is_there_is_not_told(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(URL, f"http://127.0.0.1:8501{path}")
    assert told(AppTest.from_function(_place).run()) == ""


def test_a_page_unlike_all_others_has_no_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(URL, "http://127.0.0.1:8501/a%20b/%2A%2Aq%2A%2A")
    page = AppTest.from_function(_place).run()
    assert told(page) == "There is no page '**q**', so this is the page 'Start'."
    assert not page.markdown


def test_the_whole_app_tells_it(monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THALWEG_RESULTS", str(results))
    page = AppTest.from_file(APP_SCRIPT, default_timeout=60)
    page.query_params["sorce"] = "local"
    page.run()
    assert not page.exception
    assert "'sorce' (the nearest is 'source')" in told(page)


def test_an_unknown_value_of_a_row_of_buttons_is_told_with_the_nearest(show: Show) -> None:
    page = show("landscape", REFERENCE, benchmark="quick", picture="heatmap")
    assert "Unknown picture 'heatmap': the page shows 'chart'; the nearest is 'heat map'." in told(page)
    page.button_group(key="picture").set_value("heat map").run()
    assert told(page) == ""


@pytest.mark.browser
def test_a_browser_is_told_too(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, "--results", str(REFERENCE)) as served:
        page = browser.new_page(viewport={"width": 400, "height": 900})
        page.goto(f"{served.printed}&foo=1".replace("/?", "/trails?"))
        expect(page.get_by_text("There is no page 'trails'")).to_be_visible(timeout=120_000)
        expect(page.get_by_text("choices that this page does not have: 'foo'")).to_be_visible(timeout=120_000)
        page.get_by_role("dialog").get_by_role("button").click()
        page.get_by_text("The nearest page is 'trials'").click()
        page.locator("h1", has_text="trials").wait_for(timeout=120_000)
        assert page.get_by_text("There is no page").count() == 0
        assert page.get_by_text("choices that this page does not have").count() == 0
        page.goto(f"{served.base}/claims")
        claim = page.get_by_text("Newton's method with step 1").locator("xpath=ancestor::button")
        claim.wait_for(timeout=120_000)
        sides = claim.evaluate("b => [getComputedStyle(b).textAlign, getComputedStyle(b).justifyContent]")
        assert sides == ["left", "start"]
