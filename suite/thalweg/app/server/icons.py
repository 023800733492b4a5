"""The font of Streamlit's icons, cut down to the icons that the app can show, a few of four thousand."""

from __future__ import annotations

from pathlib import Path

from thalweg.app.server.access import AsgiApp, Receive, Scope, Send
from thalweg.app.server.answers import Headers, answer

FONTS = Path(__file__).with_name("icons")
"""Fonts that ``nox -s icons`` cuts, under the names of the whole ones, which change with their content."""
PLACE = "/static/media/"
"""Where Streamlit's fonts lie."""


class Icons:
    """ASGI middleware that sends a font of :data:`FONTS` where a browser asks for the whole font of that name.

    Another Streamlit, whose font has another name, sends its own.

    Args:
        app: the ASGI app whose fonts are replaced.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.app = app
        self.kept = {f"{PLACE}{path.name}": path.read_bytes() for path in FONTS.glob("*.woff2")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        font = self.kept.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if font is None:
            await self.app(scope, receive, send)
            return
        headers: Headers = [
            (b"content-type", b"font/woff2"),
            (b"content-length", str(len(font)).encode()),
            (b"cache-control", b"public, immutable, max-age=31536000"),
        ]
        await answer(send, 200, headers, font)
