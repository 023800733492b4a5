"""Keeps what foreign code prints during a trial in a file of the trial, and off the terminal."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TextIO

LOG = "log.txt"
"""The file in a trial's folder."""

LARGEST = 100_000
"""Bytes that are kept of a trial's output."""

_MORE = "\n... more was printed, and is not kept\n"


class _Sink(io.TextIOBase):
    """Text into a file descriptor, up to a number of bytes."""

    encoding = "utf-8"

    def __init__(self, file: int) -> None:
        self._file = file
        self._left = LARGEST

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The descriptor, for code that writes past Python."""
        return self._file

    def write(self, text: str) -> int:
        """Write the text, as far as there is room."""
        if self._left > 0:
            data = text.encode("utf-8", "backslashreplace")[: self._left]
            self._left -= len(data)
            with suppress(OSError):  # a full disk costs the output and not the trial
                os.write(self._file, data)
        return len(text)


class _Keeping:
    """The output of this process on its way into a file."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._sink = _Sink(file)
        self._streams: tuple[TextIO, TextIO] = sys.stdout, sys.stderr
        self._saved: list[int] = []
        self._handlers = [handler for handler in _handlers() if _is_of_process(handler)]
        self._before = [handler.stream for handler in self._handlers]

    def begin(self) -> None:
        """Send Python's streams, handlers of logging, and the descriptors that C writes to, into the file."""
        self._streams = sys.stdout, sys.stderr
        for stream in self._streams:
            with suppress(OSError, ValueError):
                stream.flush()
        sys.stdout = sys.stderr = self._sink
        for handler in self._handlers:
            handler.stream = self._sink
        for target in (1, 2):
            with suppress(OSError):  # a process may have been started without
                self._saved.append(os.dup(target))
                os.dup2(self._file, target)

    def end(self) -> None:
        """Put everything back, and cut off what C wrote beyond the limit."""
        _flush()
        for target, saved in zip((1, 2), self._saved, strict=False):
            os.dup2(saved, target)
            os.close(saved)
        self._saved.clear()
        for handler, stream in zip(self._handlers, self._before, strict=True):
            if handler.stream is self._sink:
                handler.stream = stream
        if sys.stdout is self._sink:
            sys.stdout = self._streams[0]
        if sys.stderr is self._sink:
            sys.stderr = self._streams[1]
        if os.fstat(self._file).st_size > LARGEST:
            os.ftruncate(self._file, LARGEST)

    def close(self) -> int:
        """The bytes that were kept; the file says where bytes are missing."""
        size = os.fstat(self._file).st_size
        if size >= LARGEST:
            with suppress(OSError):
                os.write(self._file, _MORE.encode())
        os.close(self._file)
        return size


def _flush() -> None:
    """Write out what C has buffered."""
    if os.name == "posix":
        _c_library().fflush(None)


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _handlers() -> list[logging.StreamHandler[Any]]:
    """The handlers of all loggers that write to a stream."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = [handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers]
    return [handler for handler in found if isinstance(handler, logging.StreamHandler)]


def _is_of_process(handler: logging.StreamHandler[Any]) -> bool:
    """Whether a handler writes to standard output or error, or to what they were when it was made."""
    if type(handler) is not logging.StreamHandler:
        return False  # a file's, or one that looks its stream up when it writes
    with suppress(Exception):
        return handler.stream.fileno() in (1, 2)
    return False


_now: _Keeping | None = None


@contextmanager
def kept(path: Path | None) -> Iterator[None]:
    """While active, what this process prints goes into a file: by ``print``, warnings, logging or C.

    At most LARGEST bytes are kept. A file is made only where something is printed, or where the process is killed.

    Args:
        path: the file; None keeps nothing.
    """
    global _now
    keeping = _Keeping(os.open(path or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    before, _now = _now, keeping
    keeping.begin()
    try:
        yield
    finally:
        keeping.end()
        _now = before
        if keeping.close() == 0 and path is not None:
            path.unlink(missing_ok=True)


@contextmanager
def aside() -> Iterator[None]:
    """While active, output goes where it went before ``kept``: for hooks and progress."""
    keeping = _now
    if keeping is None:
        yield
        return
    keeping.end()
    try:
        yield
    finally:
        keeping.begin()


def outside(call: Callable[..., None]) -> Callable[..., None]:
    """The function, called with ``aside`` active."""

    def called(*arguments: Any) -> None:
        with aside():
            call(*arguments)

    return called
