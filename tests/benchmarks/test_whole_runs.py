"""Times of whole commands against an earlier build, where THALWEG_BEFORE names a checkout of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from timing import KEPT, record

HERE = Path(__file__).parents[2]
PAIRS = {"quick": 5, "tuned": 3}


def seconds(checkout: Path, words: list[str], folder: Path) -> float:
    """The time of a command from nothing, with nothing cached."""
    own = {"PYTHONPATH": f"{checkout}/suite:{checkout}/plugins", "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "thalweg", *words, "--results", str(folder / "results"), "--quiet"]
    started = time.perf_counter()
    subprocess.run(command, env=os.environ | own, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return time.perf_counter() - started


@pytest.mark.slow
@pytest.mark.benchmark(group="a whole run against the build before")
@pytest.mark.parametrize("words", [["run", "quick"], ["run", "tuned", "-j", "2"]], ids=["quick", "tuned"])
def test_a_run_from_nothing(benchmark: Any, tmp_path: Path, words: list[str]) -> None:
    """Both sides train the same trials; the later build batches more of them."""
    before = os.environ.get("THALWEG_BEFORE")
    if not before or not KEPT:
        pytest.skip("THALWEG_BEFORE names no checkout, or no measurement is kept")
    values = []
    for pair in range(PAIRS[words[1]]):
        sides = []
        for name, checkout in (("ours", HERE), ("before", Path(before))):
            folder = tmp_path / f"{name}{pair}"
            folder.mkdir()
            sides.append(seconds(checkout, words, folder))
        values.append(sides[0] / sides[1])
    record(benchmark, f"run-{words[1]}", values)
    benchmark.pedantic(lambda: None, rounds=1)
