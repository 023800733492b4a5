"""Takes the pictures of pages of the app that README and docs show.

python docs/pictures.py [NAME ...]    # needs Chromium on the PATH; the app shows results/reference
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {
    "leaderboard": ("/leaderboard?benchmark=tuned&only=digits-mlp", 1300),
    "landscape": ("/landscape?benchmark=landscapes", 1540),
    "tuning": ("/tuning?benchmark=tuned", 900),
}
"""The address and the height of each picture, in pixels of a window of 1280."""
WAIT = 60_000
"""Milliseconds until a page must be there."""


def port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def take(page: Page, base: str, name: str) -> None:
    """Take one picture."""
    address, height = PICTURES[name]
    page.set_viewport_size({"width": 1280, "height": height})
    page.goto(base + address)
    page.locator("h1").first.wait_for(timeout=WAIT)
    page.locator("svg.marks").first.wait_for(timeout=WAIT)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=WAIT)
    page.wait_for_timeout(2000)
    page.screenshot(path=ROOT / "docs" / "images" / f"{name}.png")


def main(names: list[str]) -> None:
    """Start the app, take the pictures, and stop it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("needs Chromium on the PATH")
    if unknown := [name for name in names if name not in PICTURES]:
        sys.exit(f"no picture {', '.join(unknown)}: there are {', '.join(PICTURES)}")
    token, at = secrets.token_urlsafe(16), port()
    words = [
        sys.executable,
        "-m",
        "thalweg",
        "app",
        "--results",
        str(ROOT / "results" / "reference"),
        "--port",
        str(at),
    ]
    server = subprocess.Popen(words, env={**os.environ, "THALWEG_APP_TOKEN": token}, stdout=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            base = f"http://127.0.0.1:{at}"
            for _ in range(60):
                try:
                    page.goto(f"{base}/?token={token}")
                    break
                except Error:  # the server is not up yet
                    time.sleep(1)
            for name in names or PICTURES:
                take(page, base, name)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
