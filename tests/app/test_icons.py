"""The small font of icons goes out in place of Streamlit's, and has every icon that Streamlit and the app name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import streamlit

from thalweg.app.server.icons import FONTS, PLACE, Icons

STATIC = Path(streamlit.__file__).parent / "static" / "static"
AGAIN = "run: nox -s icons"


def ask(path: str, method: str = "GET") -> bytes:
    """The body of the answer; ``theirs`` where the request is passed on."""
    sent: list[MutableMapping[str, Any]] = []

    async def theirs(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"theirs"})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    asyncio.run(Icons(theirs)({"type": "http", "method": method, "path": path, "headers": []}, receive, send))
    body: bytes = sent[1]["body"]
    headers = dict(sent[0]["headers"])
    if body != b"theirs":
        assert headers[b"content-type"] == b"font/woff2"
        assert headers[b"content-length"] == str(len(body)).encode()
    return body


def test_the_font_of_the_installed_streamlit_goes_out_small() -> None:
    (whole,) = (STATIC / "media").glob("MaterialSymbols-*.woff2")
    body = ask(PLACE + whole.name)
    assert body != b"theirs", AGAIN
    assert body[:4] == b"wOF2"
    assert len(body) < whole.stat().st_size / 10


def test_other_fonts_and_other_requests_are_passed_on() -> None:
    (whole,) = (STATIC / "media").glob("MaterialSymbols-*.woff2")
    for path, method in (
        (PLACE + "MaterialSymbols-Rounded.another.woff2", "GET"),
        (PLACE + "names.txt", "GET"),
        (PLACE + whole.name, "HEAD"),
        ("/" + whole.name, "GET"),
    ):
        assert ask(path, method) == b"theirs", path


def test_every_icon_that_is_named_is_in_the_font() -> None:
    suite = FONTS.parents[3]
    names = {
        name
        for path in [*(STATIC / "js").glob("*.js"), *suite.rglob("*.py")]
        for name in re.findall(r":material/([a-z0-9_]+):", path.read_text(encoding="utf-8"))
    }
    assert {"leaderboard", "keyboard_double_arrow_right"} <= names
    missing = names - set((FONTS / "names.txt").read_text(encoding="utf-8").split())
    assert missing == {"star_filled"}, AGAIN  # which Streamlit draws as a picture
