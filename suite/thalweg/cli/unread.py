"""Standard output whose reader, such as ``head``, may end before the command does."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import Any


class Unread(io.RawIOBase):
    """A file descriptor to which writing always succeeds: what has no reader is dropped."""

    def __init__(self, file: int) -> None:
        self._file = file

    def fileno(self) -> int:
        """The descriptor."""
        return self._file

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return os.isatty(self._file)

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: Any, /) -> int:
        """Write what the descriptor takes; gives the number of bytes that are done with."""
        with suppress(BrokenPipeError):
            return os.write(self._file, text)
        return memoryview(text).nbytes
