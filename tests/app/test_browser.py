"""The app in a real headless Chromium: every page, wide and narrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser

from app_server import Serving, serving

pytestmark = pytest.mark.browser

PAGES = (
    "Leaderboard",
    "Learning curves",
    "Landscape",
    "Compare",
    "Live",
    "Tuning",
    "Trials",
    "Trial",
    "Claims",
    "Playground",
    "Plugins",
    "Docs",
    "Start",
)
WIDE_ICONS = """[...document.querySelectorAll('[data-testid=stIconMaterial]')]
    .filter(icon => icon.scrollWidth > 1.5 * parseFloat(getComputedStyle(icon).fontSize))
    .map(icon => icon.textContent)"""


@pytest.fixture(scope="module")
def served(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("app"), "--results", str(results)) as started:
        yield started
    said = started.log.read_text(encoding="utf-8").lower()
    for word in ("traceback", "deprecat", "warning", "error"):
        assert word not in said, said


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (400, 800)])
def test_every_page_draws_without_errors_or_outside_requests(
    served: Serving, browser: Browser, width: int, height: int
) -> None:
    faults: list[str] = []
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if _is_outside(request.url) else None)
    # a page's address, opened with the token the first time
    page.goto(f"{served.base}/?benchmark=tiny&token={served.token}")
    for title in PAGES:
        if width < 800 and not page.get_by_test_id("stSidebarNav").is_visible():
            page.get_by_test_id("stExpandSidebarButton").click()
        page.get_by_test_id("stSidebarNav").get_by_text(title, exact=True).click()
        page.locator("h1", has_text=_heading(title)).wait_for(timeout=20_000)
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=20_000)
        if title in ("Leaderboard", "Learning curves", "Landscape", "Compare", "Live", "Playground", "Trial"):
            page.locator("svg.marks").first.wait_for(timeout=20_000)
        assert "benchmark=tiny" in page.url, title
        assert "token" not in page.url, title
        assert page.get_by_test_id("stException").count() == 0, title
        assert page.get_by_test_id("stAlertContentError").count() == 0, title
        # an icon that the font lacks would be its name, in letters
        wide = page.evaluate(WIDE_ICONS)
        assert wide == [], f"{title}: {wide}"
        across = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert across[0] <= across[1], f"{title}: {across[0]} px wide in a window of {across[1]}"
    assert not faults


def test_a_deep_link_opens_the_trial(served: Serving, browser: Browser, results: Path) -> None:
    trials = sorted((results / "tiny" / "trials").glob("digits-mlp--*/trial.json"))
    # two optimizers of the benchmark are SGD, and the folder's name tells them apart by the hash alone
    folder = next(path for path in trials if json.loads(path.read_text(encoding="utf-8"))["optimizer"] == "sgd").parent
    page = browser.new_context().new_page()
    page.goto(served.printed)
    page.goto(f"{served.base}/trial?benchmark=tiny&trial={folder.name.rsplit('--', 1)[1]}")
    page.locator("h1", has_text="digits-mlp · sgd").wait_for(timeout=20_000)
    page.get_by_text(folder.name).first.wait_for(timeout=20_000)


def test_a_deep_link_chooses_the_results(served: Serving, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{served.printed}&source=reference")
    page.locator("h2, h3", has_text="Trials of quick").wait_for(timeout=20_000)
    assert "source=reference" in page.url


def test_a_click_while_the_page_loads_keeps_the_benchmark(served: Serving, browser: Browser) -> None:
    context = browser.new_context()
    context.new_page().goto(served.printed)
    for wait in (0, 200, 400, 800):
        page = context.new_page()
        page.goto(f"{served.base}/?source=reference&benchmark=kfac", wait_until="commit")
        entry = page.get_by_test_id("stSidebarNav").get_by_text("Trials", exact=True)
        entry.wait_for(timeout=20_000)
        page.wait_for_timeout(wait)
        entry.click()
        page.locator("h1", has_text="kfac: trials").wait_for(timeout=20_000)
        page.wait_for_function("location.search.includes('benchmark=kfac')", timeout=20_000)
        page.close()


def test_a_link_changes_the_benchmark_and_a_choice_changes_it_back(served: Serving, browser: Browser) -> None:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{served.printed}&source=reference&benchmark=quick")
    page.get_by_test_id("stPageLink").filter(has_text="Which optimizer is best on digits?").click()
    page.locator("h1", has_text="Tuned: leaderboard").wait_for(timeout=20_000)
    assert page.url.count("benchmark=") == 1
    assert "benchmark=tuned" in page.url
    page.get_by_test_id("stSidebar").get_by_test_id("stSelectbox").nth(1).locator("input").click()
    page.get_by_role("option", name="kfac").click()
    page.locator("h1", has_text="K-FAC: leaderboard").wait_for(timeout=20_000)
    page.wait_for_function("location.search.includes('benchmark=kfac')", timeout=20_000)
    # a choice on a page whose address holds what the sidebar shows at first
    page.goto(f"{served.base}/trials?source=reference&benchmark=quick")
    page.locator("h1", has_text="quick: trials").wait_for(timeout=20_000)
    page.get_by_test_id("stSelectbox").filter(has_text="workload").locator("input").click()
    page.get_by_role("option", name="quadratic").click()
    page.get_by_text("21 trials of 63.").wait_for(timeout=20_000)
    assert page.get_by_test_id("stException").count() == 0


def test_a_row_leads_to_its_curves_and_a_copied_address_opens_them_again(served: Serving, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{served.base}/leaderboard?benchmark=tiny&only=quadratic&token={served.token}")
    table = page.get_by_test_id("stDataFrame").first
    table.wait_for(timeout=20_000)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=20_000)
    # the box of the first row, below the row of headings
    table.locator(".dvn-scroller").click(position={"x": 12, "y": 52})
    link = page.get_by_test_id("stPageLink").filter(has_text="learning curves")
    link.wait_for(timeout=20_000)
    link.click()
    page.locator("h1", has_text="Learning curves").wait_for(timeout=20_000)
    page.locator("svg.marks").first.wait_for(timeout=20_000)
    page.get_by_test_id("stPopover").get_by_role("button").click()
    address = page.get_by_test_id("stCode").first.inner_text().strip()
    assert address.startswith(f"{served.base}/curves?")
    assert "workload=quadratic" in address
    assert "token" not in address
    again = context.new_page()
    again.goto(address)
    again.locator("svg.marks").first.wait_for(timeout=20_000)
    chosen = [each.get_by_test_id("stMultiSelect").inner_text() for each in (page, again)]
    assert chosen[0] == chosen[1]
    assert "drawn=" in address


def test_a_rate_of_the_playground_changes_its_path(served: Serving, browser: Browser) -> None:
    faults: list[str] = []
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{served.base}/?benchmark=tiny&token={served.token}")
    page.get_by_test_id("stSidebarNav").get_by_text("Playground", exact=True).click()
    # the lines of SGD in both charts; samples in a legend are moved to their places, and lines are not
    lines = """() => [...document.querySelectorAll("svg.marks path[stroke='#0072B2']:not([transform])")]
        .map((line) => line.getAttribute("d"))"""
    page.wait_for_function(f"({lines})().length === 2", timeout=60_000)
    before = page.evaluate(lines)
    page.locator("input[type=range][aria-label='learning rate of sgd']").press("ArrowLeft")
    page.wait_for_url("**lr-sgd-rosenbrock=0.00282**", timeout=20_000)
    changed = (
        f"(before) => {{ const now = ({lines})(); return now.length === 2 && now.every((d, i) => d !== before[i]) }}"
    )
    page.wait_for_function(changed, arg=before, timeout=20_000)
    assert page.get_by_test_id("stException").count() == 0
    assert not faults


def test_without_the_token_nothing_is_drawn_and_with_it_a_download_comes(
    served: Serving, browser: Browser, tmp_path: Path
) -> None:
    stranger = browser.new_context().new_page()
    stranger.goto(f"{served.base}/?benchmark=tiny")
    stranger.get_by_text("Open the address that thalweg app printed").wait_for(timeout=20_000)
    assert stranger.locator("[data-testid=stApp]").count() == 0
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.printed)
    page.locator("h1", has_text="thalweg").wait_for(timeout=20_000)
    assert page.url.startswith(f"{served.base}/")
    assert "token" not in page.url
    (cookie,) = (each for each in context.cookies() if each["name"] == f"thalweg-{served.port}")
    assert (cookie["value"], cookie["httpOnly"], cookie["sameSite"]) == (served.token, True, "Lax")
    assert page.evaluate("document.cookie").count(served.token) == 0
    page.get_by_test_id("stSidebarNav").get_by_text("Landscape", exact=True).click()
    page.get_by_test_id("stPopover").get_by_role("button").click()
    button = page.get_by_test_id("stDownloadButton").first.get_by_role("button")
    button.wait_for(timeout=20_000)
    with page.expect_download() as download:
        button.click()
    file = tmp_path / "file"
    download.value.save_as(file)
    assert file.stat().st_size > 0
    # a second window of the same browser needs no token
    second = context.new_page()
    second.goto(f"{served.base}/curves?benchmark=tiny")
    second.locator("h1", has_text="Learning curves").wait_for(timeout=20_000)


def _heading(title: str) -> str:
    words = {"Leaderboard": "leaderboard", "Tuning": "tuning", "Trials": "trials", "Trial": "seed", "Start": "thalweg"}
    return {**words, "Docs": "Tutorial"}.get(title, title)


def _is_outside(url: str) -> bool:
    parts = urlparse(url)
    return parts.scheme not in ("data", "blob") and parts.hostname not in ("localhost", "127.0.0.1")
