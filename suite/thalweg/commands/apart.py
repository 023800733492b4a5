"""Runs a command of ``thalweg`` in a process of its own."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from thalweg.runner.warm import warm_processes


def command_apart(words: Sequence[str]) -> tuple[int, bytes]:
    """The exit code of a command and what it writes to standard output.

    The command sees nothing that this process has loaded. Several commands cost the imports of one.

    Args:
        words: the command's words after ``thalweg``.
    """
    context: Any = warm_processes()
    ours, theirs = context.Pipe(duplex=False)
    with ours:
        process = context.Process(target=_run, args=(words, str(Path.cwd()), dict(os.environ), theirs))
        process.start()
        theirs.close()
        said = b"".join(iter(lambda: os.read(ours.fileno(), 1 << 16), b""))
    process.join()
    return process.exitcode, said


def _run(words: Sequence[str], folder: str, environment: Mapping[str, str], out: Connection) -> None:
    os.dup2(out.fileno(), 1)
    out.close()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["thalweg", *words]
    runpy.run_module("thalweg", run_name="__main__")
