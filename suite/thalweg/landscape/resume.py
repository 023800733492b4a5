"""What a long evaluation has done so far, in a file: to go on from there after an interruption."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_EVERY = 10.0
"""Seconds between two writes."""


def digest(tensors: Iterable[Tensor], settings: str) -> str:
    """SHA-256 of tensors and settings: what an evaluation's values depend on."""
    found = hashlib.sha256(settings.encode())
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().resolve_conj().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


class Partial:
    """Sums over part of the work, kept in a file while the work goes on.

    Args:
        path: the file; None keeps nothing. Who asked for the work deletes it when nothing more is to be done.
        key: names the work. A file of other work, or one that cannot be read, counts for nothing.
        sums: where the work begins, zeros; from the file where there is one.
    """

    def __init__(self, path: Path | None, key: str, sums: NDArray[np.float64]) -> None:
        self._state = (0, sums)
        self._path, self._key = path, key
        self._written = time.monotonic()
        if path is not None and path.is_file():
            try:
                with np.load(path) as file:
                    if str(file["key"]) == key and file["sums"].shape == sums.shape:
                        self._state = (int(file["done"]), file["sums"])
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                pass

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
        """Write it down."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            with partial.open("wb") as file:
                np.savez(file, key=self._key, done=self.done, sums=self.sums)
            partial.replace(self._path)
            self._written = time.monotonic()
