"""What a long evaluation has done so far, in a file: to go on from there after an interruption."""

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
"""Seconds between two writes."""
_COUNT, _SUM = np.dtype("<i8"), np.dtype("<f8")


def digest(tensors: Iterable[Tensor], settings: str) -> str:
    """SHA-256 of tensors and settings: what an evaluation's values depend on."""
    found = hashlib.sha256(settings.encode())
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().resolve_conj().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


class Partial:
    """Sums over part of the work, kept in a file while the work goes on.

    The file is signed with the user's key and holds how much is done, as a number of eight bytes, and the sums, row by
    row. Where there is no key nothing is kept.

    Args:
        path: the file; None keeps nothing. Who asked for the work deletes it when nothing more is to be done.
        key: names the work. A file of other work, one that cannot be read, or one that somebody else has written,
            counts for nothing.
        sums: where the work begins, zeros; from the file where there is one.
    """

    def __init__(self, path: Path | None, key: str, sums: NDArray[np.float64]) -> None:
        self._state = (0, sums)
        self._path, self._key = path, key
        self._written = time.monotonic()
        # no file, or no file of this user's
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
        """How much is in the sums."""
        return self._state[0]

    @property
    def sums(self) -> NDArray[np.float64]:
        """One row a metric, one column a point."""
        return self._state[1]

    def add(self, first: int, values: NDArray[np.float64]) -> None:
        """Add to the columns from ``first`` on, so many evaluations; written down now and then."""
        sums = self.sums.copy()
        sums[:, first : first + values.shape[1]] += values
        # both at once: an interruption between the two would count these evaluations twice
        self._state = (self.done + values.shape[1], sums)
        if self._path is not None and time.monotonic() - self._written > _EVERY:
            self.write()

    def write(self) -> None:
        """Write it down. What cannot be written is not: the evaluation matters more."""
        if self._path is not None:
            state = np.array([self.done], _COUNT).tobytes() + self.sums.astype(_SUM).tobytes()
            with suppress(OSError):
                write(self._path, self._key, signing_key(), lambda sink: sink.write(state))
            self._written = time.monotonic()
