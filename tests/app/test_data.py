"""The app's sources of results, and when it reads them again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.app import data
from thalweg.store.results import BenchmarkResults


def test_the_source_with_results_comes_first(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(results, tmp_path / "results" / "reference")
    monkeypatch.setenv("THALWEG_RESULTS", str(tmp_path / "empty"))
    assert [source.key for source in data.sources()] == ["reference", "local"]
    monkeypatch.setenv("THALWEG_RESULTS", str(results))
    assert [source.key for source in data.sources()] == ["local", "reference"]


def test_results_are_read_again_when_they_changed(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "copy")
    there = BenchmarkResults(tmp_path / "copy", "tiny")
    before = data.stamp(there)
    assert data.stamp(there) == before
    shutil.rmtree(next(there.trials.iterdir()))
    assert data.stamp(there) != before


def test_reading_results_and_loading_plugins_do_not_import_torch(results: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from thalweg.app import data, main; "
        f"data.load(Path({str(results)!r}), 'tiny'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
