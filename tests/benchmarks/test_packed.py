"""Times of packed results against their folder: the leaderboard, and the first page of the app.

``extra_info["ratio"]`` is the median ratio over alternating pairs; the aim is at most 1.1. THALWEG_MANY_TRIALS=10000
measures with 10,000 trials.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from benchmarks.many_trials import write_many
from benchmarks.test_many_results import TRIALS
from support import APP_SCRIPT
from thalweg.registry import Registry
from thalweg.store import archive
from thalweg.store.pack import pack
from thalweg.store.results import BenchmarkResults
from thalweg.store.unpack import unpack

PAIRS = 11
REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path, Path]:
    """The benchmark's file and name, the root of the folder, and the root of the packed file."""
    folder = tmp_path_factory.mktemp("many")
    file = write_many(folder, TRIALS)
    pack(BenchmarkResults(folder / "results", "many"), folder / "packed")
    return str(file), "many", folder / "results", folder / "packed"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path, Path]:
    folder = tmp_path_factory.mktemp("reference")
    unpack(REFERENCE / "tuned.thalweg", folder / "tuned")
    return "tuned", "tuned", folder, REFERENCE


def leaderboard(file: str, name: str, root: Path, registry: Registry) -> object:
    command = [sys.executable, "-m", "thalweg", "leaderboard", file, "--json", "--results", str(root)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def first_page(file: str, name: str, root: Path, registry: Registry) -> object:
    """The page that the app opens with, in an app that has read nothing yet."""
    st.cache_resource.clear()
    archive._opened.clear()
    with mock.patch.dict(os.environ, THALWEG_RESULTS=str(root)):
        app = AppTest.from_file(APP_SCRIPT, default_timeout=60)
        app.query_params["source"] = "local"
        app.query_params["benchmark"] = name
        app.run()
    assert not app.exception
    return [item.value for item in app.title]


@pytest.mark.slow
@pytest.mark.benchmark(group="packed results")
@pytest.mark.parametrize("what", ["many", "reference"])
@pytest.mark.parametrize("task", [leaderboard, first_page])
def test_packed_results_are_as_quick_as_their_folder(
    what: str, task: Callable[..., object], registry: Registry, benchmark: Any, request: pytest.FixtureRequest
) -> None:
    file, name, folder, packed_root = request.getfixturevalue(what)

    def seconds(root: Path) -> tuple[float, object]:
        begun = time.perf_counter()
        found = task(file, name, root, registry)
        return time.perf_counter() - begun, found

    # files must be older than the index keeps what was read of them; then both have an index
    time.sleep(2.5)
    assert seconds(packed_root)[1] == seconds(folder)[1]
    pairs = [(seconds(packed_root)[0], seconds(folder)[0]) for _ in range(PAIRS)]
    benchmark.extra_info["ratio"] = statistics.median(one / other for one, other in pairs)
    benchmark.extra_info["seconds"] = [statistics.median(times) for times in zip(*pairs, strict=True)]
    benchmark.pedantic(task, (file, name, packed_root, registry), rounds=1)
