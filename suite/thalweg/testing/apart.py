"""Runs checks in a process of their own, so that a check that hangs or ends its process costs that check only."""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pebble

from thalweg.registry import Registry, load_registry
from thalweg.testing.asked import Asked
from thalweg.testing.kit import CHECKS, Check, Outcome

TIMEOUT = 120.0
"""Seconds that a check may take."""
_ENDED_WITH_ZERO = 97
"""The exit code of a worker that a component ended with 0, which a pool takes for a worker that may end."""
_LONGEST_OUTPUT = 6000
"""The last characters of a check's output that are kept."""


@dataclass(frozen=True)
class Result:
    """What came of a check that ran in a process of its own."""

    check: Check
    outcome: Outcome
    output: str
    """The end of what the component printed meanwhile."""


def run_apart(asked: Asked, timeout: float = TIMEOUT, workers: int = 1) -> Iterator[Result]:
    """Run the checks in worker processes, and yield their results in the order of the checks.

    Args:
        asked: the plugin and its checks.
        timeout: seconds that one check may take; a later check is ended and counts as timed out.
        workers: how many checks at once.
    """
    context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload(["thalweg.testing.kit"])
    pool = pebble.ProcessPool(workers, initializer=_begin, context=context)
    with tempfile.TemporaryDirectory() as folder:
        try:
            started = [
                (check, log, pool.schedule(_run, args=[asked.files, _key(check), log], timeout=timeout))
                for number, check in enumerate(asked.checks)
                for log in [Path(folder) / f"{number}.txt"]
            ]
            for check, log, future in started:
                try:
                    outcome = future.result()
                except TimeoutError:
                    outcome = _ended("timed out", check, f"it took longer than {timeout:g} s", timeout)
                except pebble.ProcessExpired as error:
                    outcome = _ended("died", check, f"its process ended {_cause(error.exitcode)}")
                except BrokenProcessPool:
                    outcome = _ended("died", check, "the processes that run checks cannot be started")
                yield Result(check, outcome, _end_of(log))
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def _ended(status: str, check: Check, found: str, seconds: float = 0.0) -> Outcome:
    expected = f"that {check.condition.statement}"
    return Outcome(status, expected, found, "", seconds, ended=False)  # type: ignore[arg-type]


def _cause(exit_code: int | None) -> str:
    exit_code = 0 if exit_code == _ENDED_WITH_ZERO else exit_code
    if exit_code is not None and exit_code < 0:
        try:
            return f"by {signal.Signals(-exit_code).name}"
        except ValueError:
            pass
    return f"with exit code {exit_code}"


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-_LONGEST_OUTPUT:] if log.exists() else ""


_Key = tuple[str, str, str]


def _key(check: Check) -> _Key:
    return check.kind, check.name, check.condition.name


def _begin() -> None:
    """Prepare a worker: only the command answers Ctrl-C, and nothing reaches the command's output."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # an executor under test starts processes of its own, which Python forbids to a daemon
    multiprocessing.current_process().daemon = False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    faulthandler.enable()
    torch.set_num_threads(1)
    end, worker = os._exit, os.getpid()

    def told_apart(status: int) -> NoReturn:
        end(status or (_ENDED_WITH_ZERO if os.getpid() == worker else 0))

    os._exit = told_apart


@functools.cache
def _registry(files: tuple[Path, ...]) -> Registry:
    return load_registry(files)


def _run(files: tuple[Path, ...], key: _Key, log: Path) -> Outcome:
    """Run one check in a worker; what it prints goes to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    kind, name, condition = key
    (one,) = [one for one in CHECKS[kind] if one.name == condition]
    try:
        return Check(_registry(files), kind, name, one).outcome()
    except KeyboardInterrupt:  # of the component: a worker ignores Ctrl-C
        return Outcome("failed", f"that {one.statement}", "KeyboardInterrupt", "", 0.0, ended=False)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
