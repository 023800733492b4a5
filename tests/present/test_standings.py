"""The columns of a leaderboard, and that every way to show a leaderboard takes them from one place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support import CommandLine
from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.plan import Workload
from thalweg.present import standings
from thalweg.present.loaded import read_loaded
from thalweg.present.numbers import GENERAL
from thalweg.present.standings import Board, columns
from thalweg.present.table import Column, Table
from thalweg.registry import load_registry
from thalweg.report.content import report_of
from thalweg.scoring.leaderboard import COLUMNS
from thalweg.scoring.measures import STABILITY
from thalweg.store.results import BenchmarkResults

ACCURACY = Metric("accuracy", "higher", unit="%")
WORKLOAD = Workload("digits", (ACCURACY,), ACCURACY, "test", Target(metric="accuracy", value=0.9), "valid", ACCURACY)
ROW = {
    "workload": "digits", "metric": "accuracy", "optimizer": "adam", "rank": 1, "rank_low": 1, "rank_high": 2,
    "value": 0.95, "low": 0.94, "high": 0.96, "seeds": 3, "reached": 2, "diverged": 0, "failed": 0,
    "steps_to_target": np.nan, "seconds_to_target": np.nan,
}  # fmt: skip


def board(**changed: object) -> Board:
    return Board(pd.DataFrame([ROW | changed], columns=COLUMNS), WORKLOAD, ACCURACY)


def test_a_row_is_written_with_its_units() -> None:
    table = board().table
    assert table.headings == ["rank", "optimizer", "accuracy", "95% interval", "seeds", "reached", "steps to target"]
    assert table.cells() == [["1–2", "adam", "95.0%", "94.0% to 96.0%", "3", "2 of 3", "–"]]


def test_columns_without_anything_to_tell_are_left_out() -> None:
    assert "diverged" not in board().table.headings
    assert "diverged" in board(diverged=1).table.headings
    assert "seconds to target" in board(seconds_to_target=1.5).table.headings
    without = replace(board(), workload=replace(WORKLOAD, target=None, target_metric=None))
    assert not {"reached", "steps to target"} & set(without.table.headings)
    stability = replace(board(metric=STABILITY.name), metric=STABILITY)
    assert "trials" in stability.table.headings
    assert "steps to target" not in stability.table.headings


def test_added_optimizers_are_told_where_there_are_any() -> None:
    trials = pd.DataFrame({"optimizer": ["adam", "adam"], "in_benchmark": ["added", "yes"]})
    assert "in benchmark" not in replace(board(), trials=trials).table.headings
    added = replace(board(), trials=trials.assign(in_benchmark="added")).table
    assert added.cells()[0][added.headings.index("in benchmark")] == "added"


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more column, added as a developer would."""
    more = Column("double", "twice the value", lambda row: 2 * row["value"], GENERAL)
    monkeypatch.setattr(standings, "columns", lambda board: [*columns(board), more])


@pytest.mark.usefixtures("one_more")
def test_a_column_is_added_in_one_file_for_the_command_line_markdown_and_report(cli: CommandLine, small: Path) -> None:
    before = json.loads(cli("run", "small.toml", "--json").stdout)
    assert before["trials"]["failed"] == 0
    for words in ((), ("--format", "markdown")):
        assert "twice the value" in cli("leaderboard", "small.toml", *words).stdout
    registry = load_registry()
    loaded = read_loaded(BenchmarkResults(cli.folder / "results" / "local", "small"), registry)
    tables = [part for each in report_of(loaded, registry).sections for part in each.parts if isinstance(part, Table)]
    assert any("twice the value" in table.headings for table in tables)


@pytest.mark.usefixtures("one_more")
def test_and_for_the_app(show: object, results: Path) -> None:
    page = show("leaderboard", results, benchmark="tiny")  # type: ignore[operator]
    assert "double" in page.dataframe[1].value
