"""A file from which an interrupted training goes on."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thalweg.failure import Failure
from thalweg.own import signing_key
from thalweg.signed import content, mark, write

LEAST_SECONDS = 2.0
"""The least number of seconds between two checkpoints. A shorter training starts anew after an interruption."""
SHARE = 0.05
"""The share of the time that writing checkpoints may take."""
MOST_BYTES = 1 << 40
"""The largest state that is written, in bytes."""


class Checkpoint:
    """Keeps the state of a training, at evaluations that are far enough apart.

    The state is pickled, because optimizers may keep any object in their state. A pickle can run any code, so a file is
    loaded only if the user's key has signed it. The file is removed as soon as the trial is on disk. Without a key no
    file is written.

    Args:
        path: the file. The mark of the user's key is added to its name, so that files of two users differ in name.
        of: what is trained and where, as text. A file of another training is left alone.
    """

    def __init__(self, path: Path, of: str) -> None:
        self.of = of
        self.refused = ""
        """Why ``load`` did not load the file of this training; empty where it loaded the file or found none."""
        self._key = key_or_none()
        self._named = path
        self.path = path if self._key is None else path.with_name(f"{path.stem}--{mark(self._key)}{path.suffix}")
        self._next = time.monotonic() + LEAST_SECONDS

    @property
    def due(self) -> bool:
        """Whether enough time has gone by since the last checkpoint."""
        return self._key is not None and time.monotonic() >= self._next

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file by one of this state. An error is ignored, because training matters more."""
        if self._key is None:
            return
        started = time.monotonic()
        # the disk may be full, or the state may hold an open file
        with contextlib.suppress(Exception):
            write(self.path, self.of, self._key, lambda sink: torch.save(state, sink))
        now = time.monotonic()
        self._next = now + max(LEAST_SECONDS, (now - started) / SHARE)

    def load(self) -> dict[str, Any] | None:
        """The state of this training that was kept, or None. Files of others are left alone.

        ``refused`` says why a file of this training was not loaded.
        """
        self.refused = ""
        if self._key is not None:
            try:
                with content(self.path, self.of, self._key, MOST_BYTES) as file:
                    if file is None:
                        return None
                    state: dict[str, Any] = torch.load(file, weights_only=False)
                    return state
            except FileNotFoundError:
                pass
            except OSError as error:
                why = error.strerror or error
                self.refused = f"{self._shown(self.path)} {why}; the next checkpoint takes its place"
                return None
            except Exception as error:  # the pickle may need classes that do not exist any more
                self.refused = f"{self._shown(self.path)} could not be loaded ({Failure.of(error).line})"
                return None
        if others := self._of_others():
            more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
            whose = "is not signed with this user's key and was left alone"
            way_out = "'thalweg results compact' removes it when the trial has ended"
            self.refused = f"{self._shown(others[0])}{more} {whose}; {way_out}"
        return None

    def remove(self) -> None:
        """Remove the file."""
        if self._key is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _of_others(self) -> list[Path]:
        """Checkpoints of this training with other marks, or with none, as versions before marks wrote them."""
        name = re.compile(rf"{re.escape(self._named.stem)}(--[0-9a-f]{{8}})?{re.escape(self._named.suffix)}")
        try:
            with os.scandir(self._named.parent) as entries:
                found = sorted(entry.name for entry in entries if name.fullmatch(entry.name))
        except OSError:
            return []
        return [self._named.with_name(each) for each in found if self._key is None or each != self.path.name]

    @staticmethod
    def _shown(path: Path) -> str:
        return f"{path.parent.name}/{path.name}"


def key_or_none() -> bytes | None:
    """The user's key; None where the key can be neither read nor made."""
    try:
        return signing_key()
    except OSError:
        return None


def random_state() -> dict[str, Any]:
    """The state of the global generators that ``thalweg.training.randomness.seeded`` seeds."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False), "torch": torch.get_rng_state()}  # noqa: NPY002
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Set the global generators to a state that ``random_state`` gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
