"""Times to list many results, to rank them and to find cached trials, with an index and for the first time.

THALWEG_MANY_TRIALS=100000 measures with 100,000 trials; writing them takes minutes. THALWEG_BEFORE names another
checkout of thalweg, and then the leaderboard and the app's first page are compared with those of that checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
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
from timing import KEPT, record

PAIRS = 5
HERE = Path(__file__).parents[2]
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


@pytest.mark.slow
@pytest.mark.benchmark(group="many results against another checkout")
@pytest.mark.parametrize("what", ["leaderboard", "page"])
def test_many_results_against_another_checkout(
    what: str, results: ResultsFolder, tmp_path: Path, benchmark: Any
) -> None:
    """The index is there and all files were looked at a moment before. Both checkouts show the same."""
    before = os.environ.get("THALWEG_BEFORE")
    if not before:
        pytest.skip("THALWEG_BEFORE names no checkout to compare with")
    write_many(tmp_path / "small", 200)
    folder = results.path.parents[1]
    sides = {"now": HERE, "before": Path(before).absolute()}

    def measured(side: str) -> dict[str, Any]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(sides[side] / part) for part in ("suite", "plugins")),
            "XDG_CACHE_HOME": str(tmp_path / f"cache-{side}"),
            "OMP_NUM_THREADS": "1",
        }
        words = [sys.executable, str(HERE / "tests" / "benchmarks" / "many_times.py"), what, folder, tmp_path / "small"]
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def both() -> tuple[dict[str, Any], dict[str, Any]]:
        now, before = measured("now"), measured("before")
        assert now["shown"] == before["shown"]
        return now, before

    # this makes the index of both
    both()
    pairs = [both() for _ in range(PAIRS if KEPT else 1)]
    rows = {"seconds": {"leaderboard": "leaderboard-many", "page": "first-page-many"}[what]}
    if what == "page":
        rows["megabytes"] = "first-page-many-memory"
    for quantity, row in rows.items():
        record(benchmark, row, [now[quantity] / before[quantity] for now, before in pairs])
    benchmark.extra_info["trials"] = TRIALS
    benchmark.pedantic(lambda: None, rounds=1)
