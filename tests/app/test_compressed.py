"""Scripts and styles go out compressed, once each; everything else goes out as it is."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import MutableMapping
from typing import Any

import pytest

from thalweg.app.server.compressed import LEAST, Compressed

BODY = b"let x = 1;\n" * LEAST


class Files:
    """An app that answers every path with one body, and counts its answers."""

    def __init__(self, status: int = 200, body: bytes = BODY) -> None:
        self.status, self.body, self.asked = status, body, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        headers = [(b"content-type", b"text/javascript"), (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body[:10], "more_body": True})
        await send({"type": "http.response.body", "body": self.body[10:]})


def ask(app: Compressed, path: str = "/static/js/a.js", **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the answer to a request."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    given = {"accept-encoding": "gzip, br", **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": pairs}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(part["body"] for part in sent[1:])


def test_a_script_is_compressed_once_and_says_so() -> None:
    files = Files()
    app = Compressed(files)
    for _ in range(2):
        status, headers, body = ask(app)
        assert status == 200
        assert gzip.decompress(body) == BODY
        assert len(body) < len(BODY) / 10
        assert headers[b"content-encoding"] == b"gzip"
        assert headers[b"content-length"] == str(len(body)).encode()
        assert headers[b"content-type"] == b"text/javascript"
    assert files.asked == 1


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/static/media/font.woff2", {}),
        ("/_stcore/health.js", {}),
        ("/static/js/a.js", {"accept_encoding": "br"}),
        ("/static/js/a.js", {"range": "bytes=0-9"}),
        ("/static/js/a.js", {"if_none_match": "x"}),
    ],
)
def test_other_answers_stay_as_they_are(path: str, headers: dict[str, str]) -> None:
    status, found, body = ask(Compressed(Files()), path, **headers)
    assert (status, body) == (200, BODY)
    assert b"content-encoding" not in found


@pytest.mark.parametrize("files", [Files(status=404), Files(body=b"short")])
def test_errors_and_short_files_stay_as_they_are(files: Files) -> None:
    app = Compressed(files)
    status, found, body = ask(app)
    assert (status, body) == (files.status, files.body)
    assert b"content-encoding" not in found
    assert not app.kept
