"""Results that change while a user looks at them: the page reports the change, and shows the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

from thalweg.present.loaded import Loaded, read_loaded
from thalweg.present.probes import probes_by_label
from thalweg.registry import load_registry
from thalweg.report.content import report_of
from thalweg.store.results import BenchmarkResults

Show = Callable[..., AppTest]


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "copied")
    return tmp_path / "copied"


def _read(root: Path) -> Loaded:
    return read_loaded(BenchmarkResults(root, "tiny"), load_registry([]))


def test_every_page_names_results_that_are_not_read(show: Show, copied: Path) -> None:
    """A packed file that another program replaced, and a packed file beside its folder."""
    (copied / "hers.thalweg").write_bytes(b"cut off")
    page = show("leaderboard", copied, benchmark="tiny")
    assert not page.exception
    assert "hers.thalweg: is no packed file" in page.warning[0].value
    assert page.dataframe
    (copied / "tiny.thalweg").write_bytes(b"cut off")
    page = show("leaderboard", copied, benchmark="tiny")
    assert not page.exception
    assert any("only one of the two can count" in warning.value for warning in page.warning)


def test_a_report_does_without_a_trial_that_goes_while_it_is_made(copied: Path) -> None:
    loaded = _read(copied)
    before = probes_by_label(loaded.view.seen.trials, loaded.view.stored)
    for trial in BenchmarkResults(copied, "tiny").scan()[0]:
        if trial.document.probes:
            shutil.rmtree(trial.path)
    assert before
    assert probes_by_label(loaded.view.seen.trials, loaded.view.stored) == {}
    assert report_of(loaded, load_registry([])).sections


def test_a_page_says_that_a_trial_has_gone(show: Show, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = _read(copied)
    trial = BenchmarkResults(copied, "tiny").scan()[0][0]
    shutil.rmtree(trial.path)
    # as where another process takes it away after this one has read what there is
    monkeypatch.setattr("thalweg.app.sidebar.load", lambda *_: loaded)
    page = show("trial", copied, benchmark="tiny", trial=trial.document.hash)
    assert f"Trial {trial.document.hash} has gone" in page.warning[0].value


def test_a_probes_table_with_columns_of_one_name_is_told(show: Show, copied: Path) -> None:
    stored = next(trial for trial in BenchmarkResults(copied, "tiny").scan()[0] if trial.document.probes)
    for path in (stored.path / "probes").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.rename_columns(["x"] * table.num_columns), path)
    page = show("landscape", copied, benchmark="tiny")
    assert "the probe's table cannot be read" in page.error[0].value
