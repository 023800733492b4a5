"""``thalweg time``: times the steps of two sides in turn, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from thalweg.commands.compare import check_format, print_comparison
from thalweg.console import errors, tell
from thalweg.contracts import Metric
from thalweg.errors import UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.present.comparison import Comparison, records
from thalweg.present.sides import Side, read_side
from thalweg.present.verdicts import ordered
from thalweg.registry import load_registry
from thalweg.scoring.compare import Pair, Terms, compare
from thalweg.scoring.margins import parse_margins
from thalweg.scoring.outcomes import COLUMNS

STEP = Metric("step_seconds", "lower", "log", unit="s")
"""The seconds of a step."""


@dataclass(frozen=True)
class TimeOptions:
    """What ``thalweg time`` is asked for."""

    baseline: str
    """A results folder, or FOLDER:OPTIMIZER."""
    candidate: str
    benchmark: str | None = None
    workload: str | None = None
    blocks: int = 20
    margins: tuple[str, ...] = ()
    allow_undecided: bool = False
    format: str = "table"
    plugins_baseline: tuple[Path, ...] = ()
    plugins_candidate: tuple[Path, ...] = ()
    python_baseline: str = ""
    """The Python of another environment, in which the baseline is timed."""
    quiet: bool = False


def time_command(options: TimeOptions) -> ExitCode:
    """Time blocks of both sides' steps in turn, and print which side is faster."""
    check_format(options.format)
    terms = Terms(parse_margins(options.margins))
    if options.python_baseline and shutil.which(options.python_baseline) is None:
        raise UserError(f"--python-baseline {options.python_baseline}: there is no such program")
    old, new = options.plugins_baseline, options.plugins_candidate
    first = read_side(options.baseline, "BASELINE", options.benchmark, load_registry(old), None, tell)
    second = read_side(options.candidate, "CANDIDATE", options.benchmark, load_registry(new), None, tell)
    wanted = _wanted(first, second, options.workload)
    load = _load()
    rows: list[list[tuple[Any, ...]]] = [[], []]
    with (
        _Worker(options.python_baseline or sys.executable, first, old) as before,
        _Worker(sys.executable, second, new) as after,
    ):
        workers = (before, after)
        for workload, pair in wanted:
            # as many as the slower side makes in a tenth of a second
            steps = min(worker.prepare(workload, name) for worker, name in zip(workers, pair, strict=True))
            for block in range(options.blocks):
                # each side goes first in half of the blocks
                for place in (0, 1) if block % 2 else (1, 0):
                    seconds = workers[place].block(steps)
                    rows[place].append((workload, STEP.name, pair[place], block, True, seconds))
            if not options.quiet:
                errors().print(f"{workload} · {pair.candidate}: {options.blocks} blocks of {steps} steps", markup=False)
    baseline, candidate = (pd.DataFrame(each, columns=COLUMNS) for each in rows)
    names = {workload: [STEP] for workload, _ in wanted}
    table = compare(baseline, candidate, names, list(dict.fromkeys(pair for _, pair in wanted)), terms)
    notes = [
        f"blocks of both sides took turns, {options.blocks} of each; the seeds of a row are its blocks",
        f"load of the machine: {load:.2f} before, {_load():.2f} after",
    ]
    units = {(workload, STEP.name): STEP.unit for workload in names}
    found = Comparison(ordered(records(table)), (options.baseline, options.candidate), units, notes, {})
    print_comparison(found, second.benchmark.name, options.format, options.allow_undecided)
    return found.code(options.allow_undecided)


def _wanted(before: Side, after: Side, workload: str | None) -> list[tuple[str, Pair]]:
    """The workloads and pairs that both sides have.

    Raises:
        UserError: none, or an optimizer is named on one side alone.
    """
    if (before.optimizer is None) != (after.optimizer is None):
        raise UserError("name an optimizer in BASELINE and in CANDIDATE, or in neither: FOLDER:OPTIMIZER")
    there = [{(one.workload, one.optimizer) for one in side.plan.trials} for side in (before, after)]
    if before.optimizer is not None and after.optimizer is not None:
        pairs = [Pair(before.optimizer, after.optimizer)]
    else:
        pairs = [Pair(name, name) for name in dict.fromkeys(one.optimizer for one in before.plan.trials)]
    names = [name for name in before.plan.workloads if workload in (None, name)]
    if workload is not None and not names:
        raise UserError(f"--workload: {unknown('workload', workload, before.plan.workloads)}")
    wanted = [
        (name, pair)
        for name in names
        for pair in pairs
        if (name, pair.baseline) in there[0] and (name, pair.candidate) in there[1]
    ]
    if not wanted:
        raise UserError("BASELINE and CANDIDATE have no workload and optimizer in common")
    return wanted


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


class _Worker:
    """A process that times one side."""

    def __init__(self, python: str, side: Side, plugins: Sequence[Path]) -> None:
        self.side = side
        words = [python, "-m", "thalweg.runner.time_worker", side.benchmark.name, str(side.root)]
        words += [word for plugin in plugins for word in ("--plugin", str(plugin))]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def prepare(self, workload: str, optimizer: str) -> int:
        """Build and warm up; the number of steps of a block."""
        return int(self._ask({"workload": workload, "optimizer": optimizer})["steps"])

    def block(self, steps: int) -> float:
        """The seconds of a step."""
        return float(self._ask({"steps": steps})["seconds"])

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        if "error" in answer:
            raise UserError(f"{self.side.text}: its steps were not timed: {answer['error']}")
        return answer
