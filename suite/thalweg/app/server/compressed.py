"""Streamlit's scripts and styles, compressed: they are most of what a browser loads."""

from __future__ import annotations

import gzip

from thalweg.app.server.access import AsgiApp, Receive, Scope, Send
from thalweg.app.server.answers import Headers, answer, whole

ENDINGS = (".js", ".css")
"""What is compressed. Fonts and pictures are compressed already."""
LEAST = 1024
"""Bytes that are worth it."""
PLACE = "/static/"
"""Where Streamlit's files lie. Their names change with their content."""


class Compressed:
    """ASGI middleware that sends the files below ``/static/`` compressed, and compresses each of them once.

    Args:
        app: the ASGI app whose answers are compressed.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.app = app
        self.kept: dict[str, tuple[Headers, bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if not _wanted(scope):
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path not in self.kept:
            found = await whole(self.app, scope, receive)
            if found is None or found[0]["status"] != 200 or len(found[1]) < LEAST:
                # an answer for the browser's copy, an error, or a file that is not worth it
                await self.app(scope, receive, send)
                return
            start, body = found
            left = [pair for pair in start["headers"] if pair[0].lower() not in (b"content-length", b"accept-ranges")]
            packed = gzip.compress(body, 6)
            headers = [
                (b"content-encoding", b"gzip"),
                (b"vary", b"Accept-Encoding"),
                (b"content-length", str(len(packed)).encode()),
            ]
            self.kept[path] = [*left, *headers], packed
        headers, packed = self.kept[path]
        await answer(send, 200, headers, packed)


def _wanted(scope: Scope) -> bool:
    """Whether a request asks for a whole file that is compressed, and the browser takes it compressed."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    names = {name.lower(): value for name, value in scope["headers"]}
    takes = b"gzip" in names.get(b"accept-encoding", b"")
    partial = b"range" in names or b"if-none-match" in names or b"if-modified-since" in names
    path: str = scope["path"]
    return takes and not partial and path.startswith(PLACE) and path.endswith(ENDINGS)
