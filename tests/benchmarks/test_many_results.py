"""Times to list many results, to rank them and to find cached trials, with an index and for the first time.

THALWEG_MANY_TRIALS=100000 measures with 100,000 trials; writing them takes minutes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.many_trials import write_many
from thalweg.kept import kept_benchmark
from thalweg.registry import Registry
from thalweg.runner.done import left_to_do
from thalweg.runner.run import trials_of
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import wanted_for
from thalweg.scoring.observations import observe
from thalweg.store.index import read_stored
from thalweg.store.listing import index_folder
from thalweg.store.writing import ResultsFolder

TRIALS = int(os.environ.get("THALWEG_MANY_TRIALS", "1000"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    folder = tmp_path_factory.mktemp("many")
    write_many(folder, TRIALS)
    there = ResultsFolder(folder / "results", "many")
    old = time.time() - 60
    for path in there.trials.rglob("*"):
        os.utime(path, (old, old))
    return there


@pytest.mark.slow
@pytest.mark.benchmark(group="many results")
@pytest.mark.parametrize("what", ["first read", "read", "expand", "rank", "find cached"])
def test_many_results(what: str, results: ResultsFolder, registry: Registry, benchmark: Any) -> None:
    declared = kept_benchmark(results)
    plan, stored = declared.expand(registry), read_stored(results)
    seen = observe(plan, stored, {}, wanted_for(plan.workloads))
    tasks: dict[str, Callable[[], object]] = {
        "first read": lambda: shutil.rmtree(index_folder(results)) or read_stored(results),  # type: ignore[func-returns-value]
        "read": lambda: read_stored(results),
        "expand": lambda: declared.expand(registry),
        "rank": lambda: leaderboard(seen, plan.workloads),
        "find cached": lambda: left_to_do(trials_of(plan), read_stored(results), fresh=False),
    }
    benchmark.extra_info["trials"] = len(stored.trials)
    assert len(stored.trials) == len(plan.trials)
    assert left_to_do(trials_of(plan), stored, fresh=False) == []
    benchmark.pedantic(tasks[what], rounds=1 if what == "first read" else 3)
