"""Measures a probe on a saved trial at a visitor's wish: ``thalweg probe`` in a process that can be ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

import streamlit as st

from thalweg.app.data import plugin_files, short
from thalweg.exit_codes import ExitCode
from thalweg.store.roots import own_root

READ_ONLY = "THALWEG_APP_READ_ONLY"
"""The environment variable that forbids measuring: any text but an empty one."""
TAIL = 2000
"""Bytes of the process's last words that are read."""


class Asked(NamedTuple):
    """What is measured: on which trial of which results, which probe, with which settings."""

    root: Path
    trial: str
    probe: str
    settings: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command line."""
        words = ["thalweg", "probe", self.trial, self.probe, "--results", str(self.root)]
        for setting in self.settings:
            # one word, so that no setting is read as another option
            words.append(f"--set={setting}")
        for path in plugin_files():
            words += ["--plugin", path]
        return words


@dataclass
class Job:
    """A measurement at work, or one that has ended."""

    asked: Asked
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    started: float = field(default_factory=time.monotonic)
    cancelled: bool = False

    @property
    def running(self) -> bool:
        """Whether the process is at work."""
        return self.process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether the process has ended without a table."""
        return not self.running and self.process.returncode != 0

    @property
    def interrupted(self) -> bool:
        """Whether the process has ended because it was cancelled, and not before for another reason."""
        return self.cancelled and self.process.poll() in (ExitCode.INTERRUPTED, -signal.SIGINT)

    @property
    def last_line(self) -> str:
        """The last line that the process printed."""
        size = self.said.seek(0, os.SEEK_END)
        self.said.seek(max(0, size - TAIL))
        lines = self.said.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self.started

    def cancel(self) -> None:
        """Interrupt the process, as Ctrl-C does: it keeps what it can go on with."""
        self.cancelled = True
        if self.running:
            self.process.send_signal(signal.SIGINT)


@st.cache_resource
def jobs() -> dict[tuple[str, str], Job]:
    """The latest measurement of each trial, by results folder and hash; all visitors share them."""
    return {}


def refusal(root: Path, packed: bool) -> str:
    """Why this app measures nothing there; empty where it does."""
    if os.environ.get(READ_ONLY):
        return "This app is read-only."
    # what is measured of packed results goes into a folder of the user's own, which may have to be made
    place = own_root().absolute() if packed else root
    there = next((each for each in (place, *place.parents) if each.exists()), place) if packed else place
    return "" if os.access(there, os.W_OK) else f"Nothing can be measured, because {short(place)} cannot be written."


def start(asked: Asked) -> Job:
    """Start to measure, unless a measurement of this trial is at work; that one is given then."""
    key = (str(asked.root), asked.trial)
    there = jobs().get(key)
    if there is not None and there.running:
        return there
    said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the job
    job = Job(asked, subprocess.Popen(_python(asked.words), stdin=subprocess.DEVNULL, stdout=said, stderr=said), said)
    jobs()[key] = job
    return job


def of(root: Path, trial: str) -> Job | None:
    """The latest measurement of a trial."""
    return jobs().get((str(root), trial))


def _python(words: Sequence[str]) -> list[str]:
    """A command line of this installation; a child of a server in the background would ignore SIGINT."""
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from thalweg.cli import main; sys.argv[0] = 'thalweg'; main()"
    )
    return [sys.executable, "-c", program, *words[1:]]
