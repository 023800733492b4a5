"""Who may see the app: those who address it by its own name and have its token."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL = ("localhost", "127.0.0.1", "[::1]")
"""The names by which this machine calls itself."""
TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
"""A token: characters that an address may hold, and too many of them to guess."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(:[0-9]{1,5})?")
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>thalweg</title></head>
<body style="font-family: sans-serif; margin: 4em auto; max-width: 40em">
<h1>thalweg</h1><p>{}</p></body></html>
"""
_WITHOUT = (
    "Open the address that <code>thalweg app</code> printed when it started. The address ends with a token, which other"
    " users of the machine do not have. The browser keeps the token until you close it."
)
_NAME = "This app does not answer to the name in your address. <code>thalweg app --allow-host NAME</code> adds one."
_ORIGIN = "This request comes from another web page. The app answers only its own pages."


class Access:
    """ASGI middleware before everything that the app serves: pages, the WebSocket, media, downloads, static files.

    The app answers a request that passes three checks. Its ``Host`` is a name of the app; an attacker can make any
    other name lead to this machine (DNS rebinding). Its ``Origin``, if it has one, is the app itself. It has the token,
    either in a cookie, or in the parameter ``token`` of the address: then the browser gets the cookie, and is sent on
    to the address without the parameter.

    Args:
        app: the ASGI app that is protected.
        token: the token; an empty one switches its check off.
        hosts: further names of the app, besides the names of this machine.
    """

    def __init__(self, app: AsgiApp, token: str, hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.token = token
        self.hosts = {name.lower() for name in (*LOCAL, *hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, refuse it, or send it on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if reason := self._foreign(scope):
            await _refuse(scope, send, reason)
        elif not self.token:
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and self._is_token(_parameter(scope)):
            await self._send_on(scope, send)
        elif self._has_cookie(scope):
            await self.app(scope, receive, send)
        else:
            await _refuse(scope, send, _WITHOUT)

    def _foreign(self, scope: Scope) -> str:
        """Why the app refuses the request's ``Host`` or ``Origin``; empty where it accepts both."""
        hosts, origins = _headers(scope, b"host"), _headers(scope, b"origin")
        found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if found is None or found[1].lower().rstrip(".") not in self.hosts:
            return _NAME
        if any(_place(origin) != hosts[0].lower() for origin in origins):
            return _ORIGIN
        return ""

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _has_cookie(self, scope: Scope) -> bool:
        """Whether one of the cookies holds the token.

        A browser sends the cookies of every port of this machine, and cookies of other programs may hold anything.
        Python's parser of cookies gives up at the first one that it does not understand, so it is not used here.
        """
        pairs = [pair.partition("=") for cookies in _headers(scope, b"cookie") for pair in cookies.split(";")]
        return any(name.strip() == _cookie_name(scope) and self._is_token(value.strip()) for name, _, value in pairs)

    async def _send_on(self, scope: Scope, send: Send) -> None:
        left = [(name, value) for name, value in _parameters(scope) if name != "token"]
        # exactly one slash: two slashes begin the name of another server
        target = "/" + quote(scope["path"].lstrip("/")) + (f"?{urlencode(left)}" if left else "")
        cookie = f"{_cookie_name(scope)}={self.token}; Path=/; HttpOnly; SameSite=Lax"
        await _answer(send, 303, b"", [(b"location", target.encode()), (b"set-cookie", cookie.encode())])


def _place(origin: str) -> str:
    """Host and port of an origin; empty, which is no host's name, where the origin cannot be read."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _cookie_name(scope: Scope) -> str:
    """The cookie's name, with the port: a browser keeps one set of cookies for all ports of a machine."""
    return f"thalweg-{(scope.get('server') or ('', 0))[1]}"


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _parameters(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _parameter(scope: Scope) -> str:
    return next((value for name, value in _parameters(scope) if name == "token"), "")


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        page = b"" if scope["method"] == "HEAD" else _PAGE.format(reason).encode()
        await _answer(send, 403, page, [(b"content-type", b"text/html; charset=utf-8")])


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [
        *headers,
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
