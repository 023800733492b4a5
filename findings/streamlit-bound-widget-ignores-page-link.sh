#!/usr/bin/env bash
# streamlit 1.67.0: a bound select box keeps its value when st.page_link changes its parameter in the address.
#
# With bind="query-params" a widget takes its value from the address and writes it there. A select box in the sidebar exists
# on every page. When st.page_link(..., query_params=...) leads to another page, the address gets the link's value, and the
# box keeps the old one, so that the page shows something else than its address says. Loading this address anew gives the
# link's value. A choice that links must change can be kept in the session instead, and be written into the address by hand.
#
# Seen with streamlit 1.67.0, playwright 1.65.2, Python 3.11 and Debian's Chromium, which must be on the PATH:
# after the link: ('the box says green', True) loaded anew: the box says blue
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q streamlit==1.67.0 playwright==1.65.2
cat > "$folder/app.py" <<'PY'
import streamlit as st

pages = {}


def one():
    st.title("one")
    st.page_link(pages["two"], label="to two, in blue", query_params={"colour": "blue"})


def two():
    st.title("two")


pages["one"] = st.Page(one, url_path="one", default=True)
pages["two"] = st.Page(two, url_path="two")
current = st.navigation(list(pages.values()))
with st.sidebar:
    colour = st.selectbox("colour", ["red", "green", "blue"], key="colour", bind="query-params")
st.write(f"the box says {colour}")
current.run()
PY
cd "$folder"
"$folder/venv/bin/streamlit" run app.py --server.port 8934 --server.headless true --browser.gatherUsageStats false > log 2>&1 &
server=$!
cat > look.py <<'PY'
import shutil
import time

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page()
    for _ in range(60):
        try:
            page.goto("http://localhost:8934/?colour=green")
            break
        except Exception:
            time.sleep(1)
    page.get_by_text("the box says green").wait_for(timeout=60_000)
    page.get_by_text("to two, in blue").click()
    page.locator("h1", has_text="two").wait_for(timeout=60_000)
    page.wait_for_timeout(2000)
    clicked = page.get_by_text("the box says").inner_text(), "colour=blue" in page.url
    page.goto("http://localhost:8934/two?colour=blue")
    page.locator("h1", has_text="two").wait_for(timeout=60_000)
    page.wait_for_timeout(2000)
    loaded = page.get_by_text("the box says").inner_text()
    print("after the link:", clicked, "loaded anew:", loaded)
    assert clicked == ("the box says green", True), clicked
    assert loaded == "the box says blue", loaded
PY
"$folder/venv/bin/python" look.py
