"""Standard output whose reader, such as ``head``, may end before the command does, or whose disk may be full."""

from __future__ import annotations

import io
import os
from typing import Any


class Unread(io.RawIOBase):
    """A file descriptor to which writing always succeeds: what has no reader or no room is dropped."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.failure: OSError | None = None
        """Why something was dropped that had a reader."""

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
        try:
            return os.write(self._file, text)
        except BrokenPipeError:
            pass
        except OSError as error:
            self.failure = error
        return memoryview(text).nbytes
