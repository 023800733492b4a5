"""A transfer over HTTP that survives broken connections: a downloader for pooch."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import requests
    from rich.progress import Progress

TIMEOUT = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next bytes."""
ATTEMPTS = 3
PAUSE = 0.5
"""Seconds between two attempts."""
CHUNK = 1 << 16

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of an answer that may be different at the next attempt."""


class TransferFailed(Exception):  # noqa: N818 - the reason, as the end of a sentence
    """A transfer that will not succeed now; its text is the reason."""


class _Broken(TransferFailed):
    """A transfer that may succeed when it is tried again."""


class _TooLong(TransferFailed):
    """A server announces or sends more bytes than the file may have. Nothing of the answer is used."""


class _Unusable(_Broken):
    """The bytes on this machine do not fit the server's file."""


class ResumingDownloader:
    """Streams a url into ``part``, from the bytes that ``part`` has, and moves it to the output file when complete.

    After a broken connection the next attempt asks for the rest (HTTP Range), up to ``ATTEMPTS`` in all. A server that
    sends the whole file instead is read from the start. An error that a second attempt cannot cure, such as a missing
    page or host, ends the transfer at once. ``part`` is left behind if the transfer does not complete; the caller keeps
    or removes it.

    Args:
        part: the file that collects the bytes.
        label: the name of the transfer in the progress display on standard error.
        most: the most bytes that the file may have. A longer answer is cut off.
    """

    def __init__(self, part: Path, label: str, most: int) -> None:
        self.part = part
        self.label = label
        self.most = most
        self.continued = False
        """Whether the last call used bytes of an earlier call."""

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Transfer ``url`` to ``output_file``; ``pooch`` is not used.

        Raises:
            TransferFailed: the server or the connection is at fault.
            OSError: the file cannot be written.
        """
        self.continued = self._size() > 0
        with _display(self.label, host(url)) as display:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self._attempt(url, display)
                    break
                except _TooLong:
                    self.part.unlink(missing_ok=True)
                    raise
                except _Broken as broken:
                    if attempt == ATTEMPTS:
                        raise TransferFailed(f"{broken} ({ATTEMPTS} attempts)") from broken
                    time.sleep(PAUSE)
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str, display: _Display) -> None:
        have = self._size()
        with _request(url, have) as response:
            try:
                start, total = _extent(response, have)
            except _Unusable:
                self.part.unlink()
                raise
            if total is not None and total > self.most:
                raise _TooLong(f"it has {total:,} bytes, and the file has at most {self.most:,}")
            if have and start == have == total:
                return
            if start != have:
                self.continued = False
            display.begin(start, total)
            with self.part.open("ab" if start else "wb") as out:
                for chunk in _chunks(response):
                    start += len(chunk)
                    if start > self.most:
                        raise _TooLong(f"it sends more bytes than the file has, at most {self.most:,}")
                    out.write(chunk)
                    display.advance(len(chunk))
        if total is not None and self._size() != total:
            raise _Broken(f"the connection was closed after {self._size():,} of {total:,} bytes")


def host(url: str) -> str:
    """The server's name in a url, with its port if it has one."""
    return urlsplit(url).netloc


def _request(url: str, have: int) -> requests.Response:
    """Ask for the bytes from ``have`` on, without content encoding: a .gz file must not be unpacked on the way."""
    import requests
    from urllib3.exceptions import NameResolutionError, NewConnectionError

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except requests.exceptions.ConnectTimeout as error:
        raise TransferFailed(f"no connection within {TIMEOUT[0]:g} s") from error
    except requests.exceptions.SSLError as error:
        raise TransferFailed("its certificate could not be verified") from error
    except requests.exceptions.ProxyError as error:
        raise TransferFailed("the proxy could not be reached") from error
    except requests.exceptions.ReadTimeout as error:
        raise _Broken(f"no answer within {TIMEOUT[1]:g} s") from error
    except requests.exceptions.ConnectionError as error:
        cause = getattr(error.args[0], "reason", None) if error.args else None
        if isinstance(cause, NameResolutionError):
            raise TransferFailed("the host is not known here, or there is no network") from error
        if isinstance(cause, NewConnectionError):
            raise TransferFailed("there is no connection to it") from error
        raise _Broken("the connection was closed without an answer") from error
    except requests.exceptions.RequestException as error:
        raise TransferFailed(f"the request failed ({type(error).__name__})") from error


def _extent(response: requests.Response, have: int) -> tuple[int, int | None]:
    """The place of the answer's first byte in the file, and the size of the file if the server says it."""
    status = response.status_code
    content_range = response.headers.get("Content-Range", "")
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if match is None or int(match[1]) != have:
            raise _Unusable(f"it sent other bytes than those asked for ({content_range or 'no Content-Range'})")
        return have, None if match[2] == "*" else int(match[2])
    if status == 416 and have:
        if content_range == f"bytes */{have}":
            return have, have
        raise _Unusable("it has fewer bytes than are here already")
    if status != 200:
        reason = f"it answered {status} {response.reason}".rstrip()
        raise _Broken(reason) if status in _PASSING else TransferFailed(reason)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _chunks(response: requests.Response) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    got = 0
    try:
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            got += len(chunk)
            yield chunk
    except ReadTimeoutError as error:
        raise _Broken(f"it sent nothing for {TIMEOUT[1]:g} s") from error
    except HTTPError as error:
        raise _Broken(f"the connection was closed after {got:,} bytes") from error


class _Display(ABC):
    """Progress of one transfer on standard error."""

    @abstractmethod
    def begin(self, start: int, total: int | None) -> None:
        """Begin an attempt that has the first ``start`` bytes already."""

    @abstractmethod
    def advance(self, amount: int) -> None:
        """Count bytes that arrived."""


class _Bar(_Display):
    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None)

    def begin(self, start: int, total: int | None) -> None:
        # not update(), which would count the bytes of earlier attempts as speed
        self._progress.reset(self._task, completed=start, total=total)

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)


class _Lines(_Display):
    def __init__(self, label: str, server: str) -> None:
        self._label = label
        self._server = server
        self._said = False
        self.done = 0

    def begin(self, start: int, total: int | None) -> None:
        if not self._said:
            size = "" if total is None else f", {total / 1e6:.1f} MB"
            rest = f", continued after {start / 1e6:.1f} MB" if start else ""
            sys.stderr.write(f"{self._label}: downloading from {self._server}{size}{rest}\n")
        self._said = True
        self.done = start

    def advance(self, amount: int) -> None:
        self.done += amount


@contextlib.contextmanager
def _display(label: str, server: str) -> Iterator[_Display]:
    """A bar with bytes, speed and time left on a terminal; elsewhere a line at the start and one at the end."""
    if sys.stderr.isatty():
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(*columns, console=Console(stderr=True)) as bar:
            yield _Bar(bar, label)
    else:
        lines = _Lines(label, server)
        began = time.monotonic()
        yield lines
        sys.stderr.write(f"{label}: {lines.done / 1e6:.1f} MB, done in {time.monotonic() - began:.1f} s\n")
