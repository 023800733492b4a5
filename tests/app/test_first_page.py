"""Streamlit's page leaves room for what comes, and names the scripts that it will need."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from thalweg.app.server.first_page import SCRIPTS, STYLE, FirstPage, scripts

PAGE = b"<!DOCTYPE html><html><head><title>Streamlit</title></head><body></body></html>"


async def streamlit(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers with a page, compressed where the browser takes it so."""
    body, headers = PAGE, [(b"content-type", b"text/html; charset=utf-8"), (b"etag", b'"one"')]
    if scope["path"].endswith(".js"):
        body, headers = b"let x = '</head>'", [(b"content-type", b"text/javascript"), (b"etag", b'"one"')]
    if b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b""):
        body, headers = gzip.compress(body), [*headers, (b"content-encoding", b"gzip")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def ask(path: str, method: str = "GET") -> tuple[dict[bytes, bytes], bytes]:
    """Headers and body of the answer to a browser's request."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"accept-encoding", b"gzip, br")]}
    asyncio.run(FirstPage(streamlit)(scope, receive, send))
    return dict(sent[0]["headers"]), b"".join(part["body"] for part in sent[1:])


@pytest.mark.parametrize("path", ["/", "/leaderboard", "/leaderboard/", "/no-such-page"])
def test_the_page_has_the_style_and_the_scripts(path: str) -> None:
    headers, body = ask(path)
    text = body.decode()
    assert STYLE in text[: text.index("</head>")]
    for name in scripts():
        assert f'href="./static/js/{name}"' in text
    assert headers[b"content-length"] == str(len(body)).encode()
    # an answer "unchanged" for the tag would leave the browser with the page of an earlier version
    assert b"etag" not in headers
    assert text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("path", "place"), [("/leaderboard/tuned", b"/tuned"), ("//a/b/", b"/b"), ("/a//evil.example/x y", b"/x%20y")]
)
def test_a_page_below_another_one_is_looked_for_beside_it(path: str, place: bytes) -> None:
    headers, body = ask(path)
    assert (headers[b"location"], body) == (place, b"")


def test_other_answers_stay_as_they_are() -> None:
    for path, method in (("/static/js/a.js", "GET"), ("/_stcore/host-config", "GET"), ("/", "HEAD")):
        headers, body = ask(path, method)
        assert headers[b"content-encoding"] == b"gzip"
        assert headers[b"etag"] == b'"one"'
        assert STYLE not in gzip.decompress(body).decode()
    headers, body = ask("/media/a.js")
    assert (body, headers[b"etag"]) == (b"let x = '</head>'", b'"one"')


def test_every_script_and_what_it_imports_is_there_once() -> None:
    found = scripts()
    assert [name.split(".")[0] for name in found[: len(SCRIPTS)]] == sorted(SCRIPTS)
    assert len(set(found)) == len(found)
    # the scales of charts, which "embed" imports, and dates, which only "DataFrame" imports
    assert {"linear", "moment"} <= {name.split(".")[0] for name in found}
    folder = Path(st.__file__).parent / "static"
    assert all((folder / "static" / "js" / name).is_file() for name in found)
