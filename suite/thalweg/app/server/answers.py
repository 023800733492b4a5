"""The whole answer of an app, for middleware that changes its body."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from thalweg.app.server.access import AsgiApp, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]


async def whole(app: AsgiApp, scope: Scope, receive: Receive) -> tuple[MutableMapping[str, Any], bytes] | None:
    """The start of an app's answer, and its whole body; None where the app does not answer with a body."""
    found: list[MutableMapping[str, Any]] = []

    async def keep(message: MutableMapping[str, Any]) -> None:
        found.append(message)

    await app(scope, receive, keep)
    if not found or any(message["type"] not in ("http.response.start", "http.response.body") for message in found):
        return None
    return found[0], b"".join(message.get("body", b"") for message in found[1:])


async def answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
