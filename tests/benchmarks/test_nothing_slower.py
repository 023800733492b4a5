"""Times of what nobody works on, against an earlier build, where THALWEG_BEFORE names a checkout of it.

Both builds run in processes of their own, which alternate. Processor time counts, because other load of the machine
changes it less than the time on the wall.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.many_trials import write_many
from timing import KEPT, record

HERE = Path(__file__).parents[2]
PAIRS = 7
FEW = """
seeds = 3
[workloads.digits-mlp]
problem = "digits"
architecture = "mlp"
budget = { epochs = 5 }
batch_size = 32
validation_fraction = 0.2
[workloads.quadratic]
problem = "quadratic"
architecture = "point"
dtype = "float64"
budget = { steps = 200 }
[optimizers.adam]
[optimizers.sgd]
lr = 0.01
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "thalweg", *words]


def script(*words: str) -> list[str]:
    return [sys.executable, str(HERE / "tests" / "benchmarks" / words[0]), *words[1:]]


CASES: dict[str, list[str]] = {
    "help": command("--help"),
    "cached-run": command("run", "many.toml", "--results", "results", "--json"),
    "results-list": command("results", "list", "--results", "results"),
    "leaderboard": command("leaderboard", "many.toml", "--results", "results"),
    "run-alone": command("run", "few.toml", "--results", "new", "--no-batching", "--quiet"),
    "loop-adam": script("loop_of.py", "adam"),
    "loop-sgd": script("loop_of.py", "sgd"),
}


@pytest.mark.slow
@pytest.mark.benchmark(group="what nobody works on, against the build before")
@pytest.mark.parametrize("case", CASES)
def test_nothing_slower(benchmark: Any, tmp_path: Path, case: str) -> None:
    """The loop prints its own time, without imports; of commands the whole process counts."""
    before = os.environ.get("THALWEG_BEFORE")
    if not before or not KEPT:
        pytest.skip("THALWEG_BEFORE names no checkout, or no measurement is kept")
    sides = {"now": HERE, "before": Path(before).absolute()}
    for side in sides:
        write_many(tmp_path / side, 1000)
        (tmp_path / side / "few.toml").write_text(FEW, encoding="utf-8")
    runs = {side: _run(case, checkout, tmp_path / side) for side, checkout in sides.items()}
    for run in runs.values():
        run()
    pairs = [(runs["now"](), runs["before"]()) for _ in range(PAIRS)]
    record(benchmark, f"unchanged-{case}", [now / earlier for now, earlier in pairs])
    benchmark.pedantic(lambda: None, rounds=1)


def _run(case: str, checkout: Path, folder: Path) -> Callable[[], float]:
    path = os.pathsep.join(str(checkout / part) for part in ("suite", "plugins"))
    environment = os.environ | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}

    def run() -> float:
        shutil.rmtree(folder / "new", ignore_errors=True)
        earlier = _processor_seconds()
        done = subprocess.run(CASES[case], env=environment, cwd=folder, capture_output=True, text=True, check=True)
        return float(done.stdout) if case.startswith("loop") else _processor_seconds() - earlier

    return run


def _processor_seconds() -> float:
    """The processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
