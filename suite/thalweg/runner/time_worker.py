"""A process that times steps of one side, block by block, as ``thalweg time`` asks it to.

It reads JSON lines from its input. ``{"workload": W, "optimizer": O}`` prepares a pair and answers with ``steps``, the
number of steps that take about a tenth of a second. ``{"steps": N}`` times a block of N steps and answers with
``seconds``, the seconds of a step. What goes wrong is answered with ``error``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.failure import Failure
from thalweg.kept import find_benchmark
from thalweg.plan import pairs_of
from thalweg.registry import load_registry
from thalweg.selection import Selection
from thalweg.store.index import read_counted
from thalweg.store.results import BenchmarkResults
from thalweg.tuning.plan import plan_of


def main() -> None:
    """Answer until the input ends. Answers go to a copy of the output, which plugins may print to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("benchmark")
    parser.add_argument("results", type=Path)
    parser.add_argument("--plugin", type=Path, action="append", default=[])
    given = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    side = _Side(given.benchmark, given.results, given.plugin)
    # whoever asks may be gone, or has been interrupted and says so
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        for line in sys.stdin:
            try:
                answer = side.answer(json.loads(line))
            except (Exception, SystemExit) as error:  # a plugin's mistake, which the command reports
                answer = {"error": Failure.of(error).line}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


class _Side:
    def __init__(self, benchmark: str, results: Path, plugins: list[Path]) -> None:
        self.benchmark, self.results, self.plugins = benchmark, results, plugins
        self.timer: Any = None

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        from thalweg.training.contained import contained
        from thalweg.training.steptime import StepTimer

        with contained(1):
            if "steps" in asked:
                return {"seconds": self.timer.block(asked["steps"])}
            registry = load_registry(self.plugins)
            benchmark = find_benchmark(self.benchmark, registry, self.results)
            stored = read_counted(BenchmarkResults(self.results, benchmark.name))
            plan = plan_of(benchmark, registry, Selection(), stored)
            self.timer = StepTimer(pairs_of(plan.trials)[asked["workload"], asked["optimizer"]], registry)
            return {"steps": self.timer.warm_up()}


if __name__ == "__main__":
    main()
