"""Finds out what foreign optimizer classes need, in a process of its own, before their first run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from thalweg.conventions import keep, known
from thalweg.refs import provider_of
from thalweg.registry import Entry, Registry, load_registry
from thalweg.runner.warm import warm_processes
from thalweg.shown import cut

LIMIT = 60.0
"""Seconds that a class may take to make its first steps."""

_WAY = (
    "its trials begin as a plain class's; closure=, create_graph=, modes= or groups= of register may say what it needs"
)


def unknown_of(names: Iterable[str], registry: Registry) -> list[Entry]:
    """The optimizers of these names whose conventions are not known yet."""
    there = {entry.name: entry for entry in registry.entries("optimizers")}
    entries = [there[name] for name in dict.fromkeys(names) if name in there]
    return [entry for entry in entries if known(entry.component, provider_of(entry)) is None]


def find_out(names: Iterable[str], registry: Registry, say: Callable[[str], None], limit: float = LIMIT) -> None:
    """Find out what the classes of these optimizers need, where it is not known, and keep it.

    The first steps are made in another process, one class after the other. A class that hangs, crashes or fails
    costs nothing: ``say`` gets a line, the other classes go on, and trials of this class begin as trials of a class
    of which nothing is known.

    Args:
        names: names of optimizers.
        registry: where they are.
        say: shows a line to the user.
        limit: seconds that a class may take.
    """
    left = unknown_of(names, registry)
    while left:
        left = _find_some(left, registry, say, limit)


def _find_some(entries: Sequence[Entry], registry: Registry, say: Callable[[str], None], limit: float) -> list[Entry]:
    """Ask one process; gives the optimizers that are left after it ended early."""
    context: Any = warm_processes()
    ours, theirs = context.Pipe(duplex=False)
    names = [entry.name for entry in entries]
    child = context.Process(target=_answer, args=(names, registry.plugin_files, theirs), daemon=True)
    try:
        child.start()
        theirs.close()
        if ours.poll(LIMIT):
            with suppress(EOFError):  # the first class tells of a process that ended before it began
                ours.recv()
        for index, entry in enumerate(entries):
            reason, goes_on = _taken(entry, ours, child, limit)
            if reason is not None:
                what = f"what {entry.name} needs could not be found out ({cut(reason, 300)})"
                say(f"{what}: {_WAY}")
            if not goes_on:
                return list(entries[index + 1 :])
        return []
    finally:
        if child.pid is not None:  # a Ctrl-C may come before it starts
            child.kill()
            child.join()
        ours.close()


def _taken(entry: Entry, answers: Connection, child: Any, limit: float) -> tuple[str | None, bool]:
    """Keep the answer for one class: the reason where there is no answer, and whether the process goes on."""
    try:
        if not answers.poll(limit):
            return f"it took longer than {limit:g} s", False
        found, reason = answers.recv()
    except EOFError:
        child.join()
        code = child.exitcode
        return (
            f"its process ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}",
            False,
        )
    if reason is None:
        keep(entry.component, provider_of(entry), found)
    return reason, True


def _answer(names: Sequence[str], plugin_files: Sequence[Path], answers: Connection) -> None:
    """Send (what was found, None) or (None, why not) for each optimizer. The other process runs this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what a class prints is printed again by its trials, which keep it
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = open(nowhere, "w", closefd=False)  # noqa: SIM115 - for as long as the process
    registry = load_registry(plugin_files)
    import torch
    import torch._dynamo.config

    # compiling takes minutes, and changes no convention
    torch._dynamo.config.disable = True

    from thalweg.training.contained import contained
    from thalweg.training.finding import NothingWorksError, find_conventions

    torch.set_num_threads(1)
    answers.send("ready")
    for name in names:
        try:
            with contained(threads=1):
                answers.send((find_conventions(registry.optimizer(name)), None))
        except NothingWorksError as error:
            answers.send((None, str(error)))
