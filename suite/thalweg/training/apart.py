"""Calls a function in a copy of this process, so that the call leaves nothing behind."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable

import torch

from thalweg.exit_codes import ExitCode

Answer = int | str | None

WAIT = 120.0
"""Seconds to wait for an answer; any answer takes far less."""


def apart(ask: Callable[[], Answer]) -> Answer:
    """The result of a function that is called in a fork of this process.

    The fork ends with the call, and what the function cached, drew or broke ends with the fork. The result is None
    where the fork ends without one or takes longer than WAIT seconds. On other systems than Linux the function is
    called in this process.
    """
    if sys.platform != "linux":
        return ask()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # a warning about threads: the fork neither joins their work nor starts any
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            os.write(writing, json.dumps(ask()).encode())
        finally:
            # without what this process does at its end: open files and buffers are not the fork's
            os._exit(ExitCode.DONE)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as file:
            text = file.read() if select.select([file], [], [], WAIT)[0] else b""
    finally:
        # a fork that hangs must not hold up the run
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    answer: Answer = json.loads(text) if text else None
    return answer
