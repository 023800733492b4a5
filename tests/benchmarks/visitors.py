"""What eight visitors cost the app's server, and how long a warm filter takes: in headless Chromium.

    $ python tests/benchmarks/visitors.py

Each visitor has a browser context of its own, opens two pages, and stays. The first one then filters the optimizers of
a leaderboard, six times. The server's memory is its resident set; Linux alone tells it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from app_server import serving

ROOT = Path(__file__).parents[2]
PAGES = (
    ("/leaderboard?benchmark=tuned", "/curves?benchmark=tuned"),
    ("/leaderboard?benchmark=broad", "/trials?benchmark=cpu"),
)
AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]"
UNTIL_REST = """() => {
  const app = document.querySelector('[data-testid=stApp]'), begun = performance.now();
  let ran = false;
  window.took = 0;
  const look = () => {
    const rests = app.getAttribute('data-test-script-state') == 'notRunning';
    ran ||= !rests;
    if (ran && rests) window.took = performance.now() - begun; else requestAnimationFrame(look);
  };
  look();
}"""


def resident(process: int) -> dict[str, int]:
    """The resident set now and at its peak, in MB."""
    lines = (line.split() for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines())
    return {words[0]: int(words[1]) // 1024 for words in lines if words[0] in ("VmRSS:", "VmHWM:")}


def filtered(page: Page, text: str) -> float:
    """Milliseconds from Enter until the page is at rest again."""
    box = page.get_by_label("optimizers", exact=True)
    box.fill(text)
    page.evaluate(UNTIL_REST)
    box.press("Enter")
    page.wait_for_function("window.took > 0", timeout=20_000)
    page.wait_for_timeout(700)
    return float(page.evaluate("window.took"))


def main() -> None:
    """Print the server's memory after each visitor, and the median of the filters."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), "--results", str(ROOT / "results" / "reference")) as app,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        pages = []
        for visitor in range(8):
            pages.append(browser.new_context(viewport={"width": 1280, "height": 900}).new_page())
            pages[-1].goto(app.printed)
            for path in PAGES[visitor % 2]:
                pages[-1].goto(app.base + path)
                pages[-1].locator(AT_REST).wait_for(timeout=90_000)
                pages[-1].wait_for_timeout(500)
            used = resident(app.process.pid)
            sys.stdout.write(f"{visitor + 1} visitors: {used['VmRSS:']} MB, {used['VmHWM:']} at the peak\n")
        pages[0].goto(app.base + PAGES[0][0])
        pages[0].locator("svg.marks").first.wait_for(timeout=60_000)
        pages[0].wait_for_timeout(2000)
        times = [filtered(pages[0], text) for text in ("adam", "", "sgd", "", "muon", "")]
        sys.stdout.write(f"a filter: {statistics.median(times):.0f} ms, {min(times):.0f} to {max(times):.0f}\n")
        browser.close()


if __name__ == "__main__":
    main()
