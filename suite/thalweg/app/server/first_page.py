"""Streamlit's page, which a browser loads first, with the room that the app's parts will take.

Streamlit's page is empty until a script has run, and each part of a page moves what is below it when it comes. What the
app's pages have in common gets its room from the start, and the browser loads the scripts of tables and charts while
the app's script still runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import streamlit

from thalweg.app.server.access import AsgiApp, Receive, Scope, Send
from thalweg.app.server.answers import answer, whole

SCRIPTS = (
    *("DataFrame", "ArrowVegaLiteChart", "arrowFormatUtils", "loadVegaEmbed", "embed"),
    *("Selectbox", "Multiselect", "TextInput", "ButtonGroup", "PageLink", "Metric"),
)
"""The first parts of the names of scripts that nearly every page needs. Streamlit loads them when a part needs them."""

STYLE = """
@media (min-width: 1000px) { .st-key-counts { min-height: 112px; } }
@media (min-width: 769px) {
  [data-testid="stAppViewContainer"]:not(:has([data-testid="stSidebar"])) { padding-left: 300px; }
}
[data-testid="stAppViewContainer"]:not(:has([data-testid="stSidebar"])) [data-testid="stMainBlockContainer"] {
  max-width: initial; margin: 0;
}
[data-testid="stSidebarContent"]:not(:has([data-testid="stSidebarNav"])) [data-testid="stSidebarUserContent"] {
  display: none;
}
[data-testid="stElementContainer"][class*="st-key-"]:has(> [data-testid="stSkeleton"], > .stButtonGroup) {
  min-height: 68px;
}
"""
"""The height of the leaderboard's counts, the sidebar's room, its choices below its links, the height of a choice."""


_IMPORT = re.compile(r'(?:from|import)\s*"\./([\w.-]+\.js)"')


class FirstPage:
    """ASGI middleware that adds :data:`STYLE` and the addresses of :data:`SCRIPTS` to Streamlit's page.

    Args:
        app: the ASGI app whose page is changed.
    """

    def __init__(self, app: AsgiApp) -> None:
        self.app = app
        self.added = head(scripts())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].startswith(("/static/", "/_stcore/")):
            await self.app(scope, receive, send)
            return
        # Streamlit would compress the page
        asked = [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]
        found = await whole(self.app, {**scope, "headers": asked}, receive)
        if found is None:
            await self.app(scope, receive, send)
            return
        start, body = found
        headers = start["headers"]
        if dict(headers).get(b"content-type", b"").startswith(b"text/html"):
            above, _, name = scope["path"].rstrip("/").rpartition("/")
            if above.strip("/"):
                # the app has no page below another one, where a browser would look for the page's scripts
                query = scope.get("query_string", b"").decode("latin-1")
                target = f"/{quote(name)}" + (f"?{query}" if query else "")
                await answer(send, 303, [(b"location", target.encode()), (b"content-length", b"0")], b"")
                return
            body = body.replace(b"</head>", self.added + b"</head>", 1)
            # these headers describe Streamlit's file, and a browser would take its older copy for this page
            left = (b"content-length", b"etag", b"last-modified", b"accept-ranges")
            headers = [pair for pair in headers if pair[0].lower() not in left]
            headers.append((b"content-length", str(len(body)).encode()))
        await answer(send, start["status"], headers, body)


def scripts() -> list[str]:
    """The file names of :data:`SCRIPTS` in the installed Streamlit, and of what they import.

    A browser asks for a script's imports only when it has the script. None where Streamlit keeps them elsewhere.
    """
    folder = Path(streamlit.__file__).parent / "static" / "static" / "js"
    left = sorted(path.name for name in SCRIPTS for path in folder.glob(f"{name}.*.js"))
    found: dict[str, None] = {}
    for name in left:
        if name not in found:
            found[name] = None
            left += [each for each in _IMPORT.findall((folder / name).read_text("utf-8")) if (folder / each).is_file()]
    return list(found)


def head(names: Iterable[str]) -> bytes:
    """What the page's head gets: links to these scripts, and the style."""
    links = "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">\n' for name in names)
    return f"{links}<style>{STYLE}</style>\n".encode()
