"""Runs a command of ``thalweg`` in a process of its own."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from thalweg.runner.warm import end_with, warm_processes

PATIENCE = 5.0
"""Seconds that an interrupted command may take to end."""


def command_apart(words: Sequence[str]) -> tuple[int, bytes]:
    """The exit code of a command and what it writes to standard output.

    The command sees nothing that this process has loaded. Several commands cost the imports of one.

    Args:
        words: the command's words after ``thalweg``.
    """
    context: Any = warm_processes()
    ours, theirs = context.Pipe(duplex=False)
    watched, alive = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(words, str(Path.cwd()), dict(os.environ), theirs, watched))
    with ours, alive:
        process.start()
        theirs.close()
        try:
            said = b"".join(iter(lambda: os.read(ours.fileno(), 1 << 16), b""))
        except KeyboardInterrupt:
            _interrupt(process)
            raise
        process.join()
    return process.exitcode, said


def _interrupt(process: Any) -> None:
    """End the command. A terminal's Ctrl-C reached the command too, and a second one would cut it short."""
    process.join(PATIENCE)
    if process.is_alive():
        os.kill(process.pid, signal.SIGINT)
        process.join(PATIENCE)
    process.kill()
    process.join()


def _run(
    words: Sequence[str], folder: str, environment: Mapping[str, str], out: Connection, runner: Connection
) -> None:
    end_with(runner)
    os.dup2(out.fileno(), 1)
    out.close()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["thalweg", *words]
    runpy.run_module("thalweg", run_name="__main__")
