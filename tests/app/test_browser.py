"""The app in a real headless Chromium: every page, wide and narrow."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PAGES = ("Leaderboard", "Tuning", "Learning curves", "Landscape", "Trial", "Plugins")


@pytest.fixture(scope="module")
def address(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, started as users start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("app")
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", "from thalweg.cli import main; main()",
             "app", "--results", str(results), "--port", str(port)],
            cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    url = f"http://localhost:{port}"
    try:
        _wait(f"{url}/_stcore/health", process, log)
        yield url
    finally:
        # streamlit is a child of the command, in the same session
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
    said = log.read_text(encoding="utf-8").lower()
    for word in ("traceback", "deprecat", "warning", "error"):
        assert word not in said, said


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the app did not start: {log.read_text(encoding='utf-8')}")


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (400, 800)])
def test_every_page_draws_without_errors_or_outside_requests(
    address: str, browser: Browser, width: int, height: int
) -> None:
    faults: list[str] = []
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if _is_outside(request.url) else None)
    page.goto(f"{address}/?benchmark=tiny")
    for title in PAGES:
        if width < 800 and not page.get_by_test_id("stSidebarNav").is_visible():
            page.get_by_test_id("stExpandSidebarButton").click()
        page.get_by_test_id("stSidebarNav").get_by_text(title, exact=True).click()
        page.locator("h1", has_text=_heading(title)).wait_for(timeout=20_000)
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=20_000)
        if title in ("Leaderboard", "Learning curves", "Landscape", "Trial"):
            page.locator("svg.marks").first.wait_for(timeout=20_000)
        assert "benchmark=tiny" in page.url, title
        assert page.get_by_test_id("stException").count() == 0, title
        assert page.get_by_test_id("stAlertContentError").count() == 0, title
        across = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert across[0] <= across[1], f"{title}: {across[0]} px wide in a window of {across[1]}"
    assert not faults


def test_a_deep_link_opens_the_trial(address: str, browser: Browser, results: Path) -> None:
    folder = next(path for path in (results / "tiny" / "trials").iterdir() if path.name.startswith("digits-mlp--sgd"))
    page = browser.new_page()
    page.goto(f"{address}/trial?benchmark=tiny&trial={folder.name.rsplit('--', 1)[1]}")
    page.locator("h1", has_text="digits-mlp · sgd").wait_for(timeout=20_000)
    page.get_by_text(folder.name).first.wait_for(timeout=20_000)


def test_a_deep_link_chooses_the_results(address: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{address}/?source=reference")
    page.locator("h1", has_text="Quick: leaderboard").wait_for(timeout=20_000)
    assert "source=reference" in page.url


def _heading(title: str) -> str:
    return {"Leaderboard": "leaderboard", "Tuning": "tuning", "Trial": "seed"}.get(title, title)


def _is_outside(url: str) -> bool:
    parts = urlparse(url)
    return parts.scheme not in ("data", "blob") and parts.hostname not in ("localhost", "127.0.0.1")
