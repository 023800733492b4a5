"""The data of a trial that TensorBoard, and the documentation's tracker, receive."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support import CommandLine, results
from thalweg.store.trials import StoredTrial

WORDS = ["run", "small.toml", "--only", "workload=small", "--only", "optimizer=adam"]


def test_every_value_of_every_curve_is_written(cli: CommandLine, small: Path) -> None:
    folder = cli.folder / "board"
    cli.environment["THALWEG_TENSORBOARD"] = str(folder)
    for _ in range(2):  # trained again it is written again, and not beside
        report = cli.json(*WORDS, "--fresh")
        assert not report["failures"]
    stored, _ = results(cli).scan()
    assert len(stored) == 2
    for trial in stored:
        place = folder / "small" / "small" / "adam" / run_name(trial)
        assert len(list(place.iterdir())) == 2  # the curve, and the hyperparameters
        board = EventAccumulator(str(place)).Reload()
        assert scalars(board) == curve(trial)
        assert "_hparams_/session_start_info" in board.summary_metadata
    assert leaf_names(folder) == sorted(map(run_name, stored))


TUNED = """
seeds = 1

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
budget = { steps = 4 }

[tuning]
budgets = [4]
extend = 0.0

[optimizers.sgd]
"""


def test_every_setting_that_tuning_tries_has_a_run_of_its_own(cli: CommandLine) -> None:
    folder = cli.folder / "board"
    cli.environment["THALWEG_TENSORBOARD"] = str(folder)
    (cli.folder / "tuned.toml").write_text(TUNED, encoding="utf-8")
    report = cli.json("run", "tuned.toml")
    stored, _ = results(cli, "tuned").scan()
    # four settings at one seed, and the seed that counts
    assert report["trials"]["trained"] == len(stored) == 5
    for trial in stored:
        board = EventAccumulator(str(folder / "tuned" / "bowl" / "sgd" / run_name(trial))).Reload()
        assert scalars(board) == curve(trial, 0)


def run_name(trial: StoredTrial) -> str:
    return f"seed-{trial.document.trial.seed}--{trial.document.hash}"


def scalars(board: EventAccumulator) -> dict[tuple[str, int], float]:
    tags = [tag for tag in board.Tags()["scalars"] if not tag.startswith("final ")]
    return {(tag, event.step): pytest.approx(event.value) for tag in tags for event in board.Scalars(tag)}


def curve(trial: StoredTrial, more_than: int = 8) -> dict[tuple[str, int], float]:
    table = trial.curve()
    assert len(table) > more_than
    return {(f"{row.metric}/{row.split}", row.step): row.value for row in table.itertuples()}


def leaf_names(folder: Path) -> list[str]:
    return sorted({path.parent.name for path in folder.rglob("events*")})


def test_nothing_is_written_unless_a_folder_is_named(cli: CommandLine, small: Path) -> None:
    before = set(sys.modules)
    cli(*WORDS)
    assert not [name for name in set(sys.modules) - before if name.startswith("tensorboard")]
    assert {path.name for path in cli.folder.iterdir()} == {"small.toml", "results"}


def test_without_tensorboard_the_trial_stays_whole_and_the_way_out_is_told(cli: CommandLine, small: Path) -> None:
    cli.environment["THALWEG_TENSORBOARD"] = str(cli.folder / "board")
    with mock.patch.dict(sys.modules, {"torch.utils.tensorboard": None}):
        report = cli.json(*WORDS, code=1)
    assert {trial.document.status for trial in results(cli).scan()[0]} == {"done"}
    assert "pip install 'thalweg[tensorboard]'" in report["failures"][0]["message"]


def test_the_documented_tracker_sees_names_settings_and_the_whole_curve(cli: CommandLine, small: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n([^`]*mlflow[^`]*)```", text)
    assert len(source.splitlines()) <= 30
    (cli.folder / "tracker.py").write_text(f"import thalweg\n{source}", encoding="utf-8")
    calls: list[tuple[str, Any]] = []

    @contextmanager
    def start_run(run_name: str) -> Iterator[None]:
        calls.append(("run", run_name))
        yield

    fake: Any = types.ModuleType("mlflow")
    fake.start_run = start_run
    for name in ("set_experiment", "log_params", "set_tags", "log_artifacts"):
        setattr(fake, name, lambda given, name=name: calls.append((name, given)))
    fake.log_metrics = lambda given, step: calls.append(("log_metrics", (step, given)))
    with mock.patch.dict(sys.modules, {"mlflow": fake}):
        report = cli.json(*WORDS, "--only", "seed=1", "--plugin", "tracker.py")
    assert not report["failures"]
    told = {name: given for name, given in calls if name != "log_metrics"}
    assert (told["set_experiment"], told["run"], told["set_tags"]["status"]) == ("small/small", "adam, seed 1", "done")
    assert told["log_params"]["beta2"] == 0.999
    assert (Path(told["log_artifacts"]) / "curve.parquet").is_file()
    (trial,) = results(cli).scan()[0]
    rows = [
        {"step": step, "name": key, "value": value}
        for name, given in calls if name == "log_metrics" for step, values in [given] for key, value in values.items()
    ]  # fmt: skip
    expected = trial.curve()
    assert len(pd.DataFrame(rows)) == len(expected)
    assert {(row["name"], row["step"]) for row in rows} == {
        (f"{row.split}/{row.metric}", row.step) for row in expected.itertuples()
    }
