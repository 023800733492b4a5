"""How long a page of the app takes to load, beside the smallest page that Streamlit makes: in headless Chromium.

    $ python tests/benchmarks/page_loads.py [/leaderboard?benchmark=tuned] [ROUNDS]

The loads alternate, each with an empty cache. The smallest page has one table and one chart, and Streamlit alone
serves it. The table has the medians.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from app_server import serving

ROOT = Path(__file__).parents[2]
SMALLEST = """
import altair, pandas, streamlit

table = pandas.DataFrame({"step": range(10), "loss": range(10)})
streamlit.dataframe(table)
streamlit.altair_chart(altair.Chart(table).mark_line().encode(x="step", y="loss"))
"""
SHIFTS = """
window.shift = 0;
new PerformanceObserver(seen => { for (const one of seen.getEntries()) if (!one.hadRecentInput) shift += one.value; })
  .observe({type: 'layout-shift', buffered: true});
"""


@contextmanager
def smallest(folder: Path) -> Iterator[str]:
    """The address of the smallest page while it is served."""
    (folder / "smallest.py").write_text(SMALLEST, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--server.port={port}", "--server.headless=true", "--browser.gatherUsageStats=false"]
    command = [sys.executable, "-m", "streamlit", "run", "smallest.py", *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}/"
            for _ in range(600):
                with suppress(OSError):
                    urllib.request.urlopen(address).close()
                    break
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()


def load(browser: Browser, address: str) -> dict[str, float]:
    """Seconds until a table and a chart are there, MB over HTTP, and the layout shift."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(SHIFTS)
    sizes: list[int] = []
    network: Any = context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    begun = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_test_id("stDataFrame").first.wait_for(timeout=60_000)
    table = time.perf_counter() - begun
    page.locator("svg.marks").first.wait_for(timeout=60_000)
    chart = time.perf_counter() - begun
    page.wait_for_timeout(2000)
    found = {"table, s": table, "chart, s": chart, "MB": sum(sizes) / 1e6, "layout shift": page.evaluate("shift")}
    context.close()
    return found


def main() -> None:
    """Print the medians."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/leaderboard?benchmark=tuned"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), "--results", str(ROOT / "results" / "reference")) as app,
        smallest(Path(folder)) as floor,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        ours = f"{app.base}{path}{'&' if '?' in path else '?'}token={app.token}"
        seen: dict[str, list[dict[str, float]]] = {"app": [], "smallest": []}
        for number in range(rounds + 1):
            for name, address in (("app", ours), ("smallest", floor)):
                found = load(browser, address)
                if number:  # the first load of each is the servers' first, too
                    seen[name].append(found)
        browser.close()
    sys.stdout.write(f"{path}, medians of {rounds} loads\n")
    for key in seen["app"][0]:
        app_, floor_ = (statistics.median(one[key] for one in seen[name]) for name in ("app", "smallest"))
        sys.stdout.write(f"{key:14}{app_:8.2f}  smallest page {floor_:8.2f}\n")


if __name__ == "__main__":
    main()
