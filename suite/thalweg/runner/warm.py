"""Processes that begin with what a run imports, which takes each new process seconds."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import BaseContext

_IMPORTS = ["thalweg.runner.work", "torch", "pandas", "pyarrow.parquet", "torch._dynamo"]
"""torch's first optimizer imports the last one."""


def warm_processes() -> BaseContext:
    """Where such processes come from: a server without threads that has the imports and forks; else new processes."""
    context: BaseContext = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(_IMPORTS)
    return context
