"""Partial results of a long evaluation in a file, from which it continues after an interruption."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thalweg.own import signing_key
from thalweg.signed import content, write

_EVERY = 10.0
"""Seconds between writes."""
_COUNT, _SUM = np.dtype("<i8"), np.dtype("<f8")


def digest(tensors: Iterable[Tensor], settings: str) -> str:
    """SHA-256 of the tensors and settings that determine an evaluation's values."""
    found = hashlib.sha256(settings.encode())
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().resolve_conj().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


class Partial:
    """Sums over the finished part of the work, in memory and in a file.

    The file is signed with the user's key. It holds the number of finished evaluations in eight bytes, and the sums,
    row by row. Without a key no file is written.

    Args:
        path: the file; None writes no file. The caller deletes the file after the work.
        key: identifies the work. A file of other work, an unreadable file or another user's file is ignored.
        sums: zeros in the shape of the sums. If the file holds sums of this work, these replace the zeros.
    """

    def __init__(self, path: Path | None, key: str, sums: NDArray[np.float64]) -> None:
        self._state = (0, sums)
        self._path, self._key = path, key
        self._written = time.monotonic()
        # the file is missing, or another user's
        with suppress(OSError):
            self._read()

    def _read(self) -> None:
        if self._path is None:
            return
        sums = self.sums
        length = _COUNT.itemsize + sums.size * _SUM.itemsize
        with content(self._path, self._key, signing_key(), length) as file:
            found = file.read(length) if file is not None else b""
        if len(found) == length:
            done = int(np.frombuffer(found, _COUNT, 1)[0])
            kept = np.frombuffer(found, _SUM, offset=_COUNT.itemsize).reshape(sums.shape)
            self._state = (done, kept.astype(np.float64))

    @property
    def done(self) -> int:
        """The number of evaluations in the sums."""
        return self._state[0]

    @property
    def sums(self) -> NDArray[np.float64]:
        """A row for each metric, a column for each point."""
        return self._state[1]

    def add(self, first: int, values: NDArray[np.float64]) -> None:
        """Add the values of some evaluations to the columns from ``first`` on. Write the file if the last is old."""
        sums = self.sums.copy()
        sums[:, first : first + values.shape[1]] += values
        # one assignment: an interruption between two would count these evaluations twice
        self._state = (self.done + values.shape[1], sums)
        if self._path is not None and time.monotonic() - self._written > _EVERY:
            self.write()

    def write(self) -> None:
        """Write the file. A file that cannot be written is skipped, since the evaluation matters more."""
        if self._path is not None:
            state = np.array([self.done], _COUNT).tobytes() + self.sums.astype(_SUM).tobytes()
            with suppress(OSError):
                write(self._path, self._key, signing_key(), lambda sink: sink.write(state))
            self._written = time.monotonic()
