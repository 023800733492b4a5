"""Tables of step times may come from anywhere: invalid tables are ignored, and no command fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import CommandLine
from thalweg.store.files import FolderFiles
from thalweg.store.tables import METADATA_KEY
from thalweg.store.timings import read_times

TIMED = """
seeds = 1

[workloads.bowl]
problem = { name = "quadratic", dim = 2 }
architecture = "point"
budget = { steps = 2 }
target = { metric = "loss", value = 1e9 }

[optimizers.sgd]
lr = 0.01
"""
ABOUT = b'{"device": "cpu", "cpu": "one", "cores": 1, "threads": 1}'

SECONDS: dict[str, Any] = {
    "text": ["a"],
    "a date": pa.array([0], pa.timestamp("ns")),
    "a list": [[1.0]],
    "a record": [{"a": 1.0}],
    "yes": [True],
    "nothing": pa.array([None], pa.float64()),
    "not a number": [float("nan")],
    "without end": [float("inf")],
    "below zero": [-1.0],
    "zero": [0.0],
}


def written(folder: Path, columns: dict[str, Any] | pa.Table, about: bytes = ABOUT) -> Path:
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    path = folder / "timings" / "bowl--sgd--one-1-cores-1-threads.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: about}), path)
    return path


def test_what_is_sound_is_read(tmp_path: Path) -> None:
    written(tmp_path, {"configuration": ["a", "a", "a"], "seconds": [1.0, 3.0, 2.0]})
    (time,) = read_times(FolderFiles(tmp_path))["a"]
    assert (time.low, time.median, time.high) == (1.5, 2.0, 2.5)


@pytest.mark.parametrize("kind", SECONDS)
def test_seconds_that_are_none_count_for_nothing(tmp_path: Path, kind: str) -> None:
    written(tmp_path, {"configuration": ["a"], "seconds": SECONDS[kind]})
    assert read_times(FolderFiles(tmp_path)) == {}


@pytest.mark.parametrize("key", [[None], [["a"]], [1], [b"a"]])
def test_configurations_that_are_no_texts_count_for_nothing(tmp_path: Path, key: Any) -> None:
    written(tmp_path, {"configuration": key, "seconds": [1.0]})
    assert read_times(FolderFiles(tmp_path)) == {}


@pytest.mark.parametrize("name", ["seconds", "configuration"])
def test_columns_of_one_name_count_for_nothing(tmp_path: Path, name: str) -> None:
    table = pa.table({"configuration": ["a"], "seconds": [1.0]})
    one = table.column(name)
    for _ in range(2):
        table = table.append_column(name, one)
    written(tmp_path, table)
    assert read_times(FolderFiles(tmp_path)) == {}


@pytest.mark.parametrize("about", [b"[" * 100_000, b"{", b"[]", b"{}", b"\xff", b'{"a": ' + b"9" * 5000 + b"}"])
def test_settings_that_are_none_count_for_nothing(tmp_path: Path, about: bytes) -> None:
    written(tmp_path, {"configuration": ["a"], "seconds": [1.0]}, about)
    assert read_times(FolderFiles(tmp_path)) == {}


def test_commands_go_on_without_them(cli: CommandLine) -> None:
    (cli.folder / "timed.toml").write_text(TIMED, encoding="utf-8")
    cli("run", "timed.toml", "--quiet")
    here = cli.folder / "results" / "local" / "timed"
    for spoil in (b"[" * 100_000, b"{}"):
        written(here, {"configuration": ["a"], "seconds": ["text"]}, spoil)
        for words in (["leaderboard", "timed.toml"], ["results", "list"]):
            assert "Traceback" not in cli(*words).stderr
