"""Processes that begin with what a run imports, which takes each new process seconds."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext

from thalweg.exit_codes import ExitCode
from thalweg.runner.exits import end_now

_IMPORTS = ["thalweg.runner.work", "torch", "pandas", "pyarrow.parquet", "torch._dynamo"]
"""torch's first optimizer imports the last one."""


def warm_processes() -> BaseContext:
    """Where such processes come from: a server without threads that has the imports and forks; else new processes."""
    context: BaseContext = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(_IMPORTS)
    return context


def end_with(runner: Connection) -> None:
    """End this process when the runner ends. The runner alone can write to the pipe, so its end closes the pipe."""
    if sys.platform == "linux":
        import fcntl

        # the system's signal also ends a worker that hangs in a call into C. It goes to the owner of the open file.
        # Workers would share the open file, so each worker opens its own.
        own = os.open(f"/proc/self/fd/{runner.fileno()}", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_wait_for_the_end, args=(runner,), daemon=True).start()


def _wait_for_the_end(runner: Connection) -> None:
    with contextlib.suppress(OSError):
        runner.poll(None)
    end_now(ExitCode.FAILED)
