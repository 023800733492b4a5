"""A file from which a training that was cut off goes on."""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

LEAST_SECONDS = 2.0
"""Seconds between two checkpoints, at least: what trains for less is trained again instead."""
SHARE = 0.05
"""The part of the time that writing checkpoints may take."""


class Checkpoint:
    """Keeps the state of a training, at evaluations that are far enough apart.

    The state is pickled, since optimizers may keep what they like in theirs. So a file is believed only if it is the
    user's own and nobody else's to read or write, and it is gone as soon as the trial is on disk.

    Args:
        path: the file.
        of: what is trained and where, as text: the state of anything else is left alone.
    """

    def __init__(self, path: Path, of: str) -> None:
        self.path = path
        self.of = of
        self._next = time.monotonic() + LEAST_SECONDS

    @property
    def due(self) -> bool:
        """Whether enough time has gone by since the last one."""
        return time.monotonic() >= self._next

    def save(self, state: dict[str, Any]) -> None:
        """Write the state in place of the one before. What cannot be written is not: training matters more."""
        started = time.monotonic()
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                torch.save({"of": self.of, "state": state}, file)
            partial.replace(self.path)
        except Exception:  # no space left, or a state with an open file in it
            _unlink(partial)
        now = time.monotonic()
        self._next = now + max(LEAST_SECONDS, (now - started) / SHARE)

    def load(self) -> dict[str, Any] | None:
        """The state that was kept; None where there is none, or none of this training."""
        try:
            with os.fdopen(os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
                about = os.fstat(file.fileno())
                if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o077):
                    return None
                found = torch.load(file, weights_only=False)
            return found["state"] if found["of"] == self.of else None
        except Exception:  # half a file, or one of classes that are not here any more
            return None

    def remove(self) -> None:
        """There is nothing to go on with any more."""
        _unlink(self.path)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def random_state() -> dict[str, Any]:
    """Of the global generators that ``thalweg.training.randomness.seeded`` seeds."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False), "torch": torch.get_rng_state()}  # noqa: NPY002
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Go on with ``random_state``."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
