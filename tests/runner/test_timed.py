"""Step times, and the seconds that leaderboards compute from step times."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from probing import ref
from support import FAULTY, CommandLine, results
from thalweg.contracts.budget import Budget
from thalweg.registry import Registry
from thalweg.store.files import FolderFiles
from thalweg.store.timings import configuration, on_one_machine, read_times, write_times
from thalweg.training import steptime
from thalweg.trial import Trial

ENVIRONMENT = {"cpu": "Some CPU @ 2.0GHz", "device": "cpu", "cores": 2, "threads": 1}


def trial(seed: int = 0, **options: Any) -> Trial:
    return Trial(
        problem=ref("digits"),
        architecture=ref("mlp", widths=[8]),
        optimizer=ref("sgd", **options),
        budget=Budget(epochs=1),
        batch_size=32,
        seed=seed,
    )


def table(seconds: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"block": range(len(seconds)), "steps": 3, "seconds": seconds, "load": 0.0})


def test_a_step_takes_the_time_that_it_takes(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steptime, "_WARM_UP_SECONDS", 0.05)
    monkeypatch.setattr(steptime, "_BLOCK_SECONDS", 0.05)
    original = steptime.assemble

    def slower(*args: Any) -> Any:
        it = original(*args)
        step, batch = it.stepper.step, it.problem.batch

        def sleeping(objective: Any) -> Any:
            time.sleep(0.005)
            return step(objective)

        def fetching(*words: Any) -> Any:
            time.sleep(0.02)  # not part of a step
            return batch(*words)

        it.problem = copy.copy(it.problem)  # the original is shared by all trials
        it.problem.batch = fetching
        it.stepper.step = sleeping
        return it

    monkeypatch.setattr(steptime, "assemble", slower)
    steps, seconds = steptime.step_times(trial(), registry)
    assert steps >= 3
    assert len(seconds) == steptime.BLOCKS
    assert (seconds >= 0.005).all()
    assert float(pd.Series(seconds).median()) < 0.015


def test_times_are_kept_by_configuration_and_machine(tmp_path: Path) -> None:
    write_times(tmp_path, "w", trial(), table([1.0, 2.0, 3.0]), ENVIRONMENT)
    write_times(tmp_path, "w", trial(lr=0.5), table([5.0]), ENVIRONMENT)
    path = write_times(tmp_path, "w", trial(seed=7), table([2.0, 4.0, 6.0]), ENVIRONMENT)
    assert path.name == "w--sgd--some-cpu-2-0ghz-2-cores-1-threads.parquet"
    write_times(tmp_path, "w", trial(), table([9.0]), ENVIRONMENT | {"cpu": "Other"})
    (tmp_path / "timings" / "w--adam--broken.parquet").write_bytes(b"no table")
    found = read_times(FolderFiles(tmp_path))
    first = {each.machine: (each.low, each.median, each.high) for each in found[configuration(trial(seed=3))]}
    # of any seed, and the older ones are replaced
    assert first == {"some-cpu-2-0ghz-2-cores-1-threads": (3.0, 4.0, 5.0), "other-2-cores-1-threads": (9.0, 9.0, 9.0)}
    keys = [configuration(trial()), configuration(trial(lr=0.5))]
    assert on_one_machine(found, keys) == (
        "some-cpu-2-0ghz-2-cores-1-threads",
        dict(zip(keys, [4.0, 5.0], strict=True)),
    )
    assert on_one_machine(found, ["nothing"]) == ("", {})


def test_seconds_to_target_are_steps_times_seconds(cli: CommandLine, small: Path) -> None:
    small.write_text(small.read_text(encoding="utf-8").replace("value = 0.5", "value = 0.01"), encoding="utf-8")
    cli("run", "small.toml", "--only", "workload=small")
    assert all(row["seconds_to_target"] is None for row in cli_rows(cli))
    error = cli("leaderboard", "small.toml", "--metric", "seconds_to_target").stderr
    assert "type 'thalweg run small.toml --timed'" in error
    said = cli("run", "small.toml", "--only", "workload=small", "--timed").stderr
    assert "ms a step, load" in said
    times = read_times(results(cli).files)
    by_label = {t.document.optimizer: times[configuration(t.document.trial)][0].median for t in results(cli).scan()[0]}
    assert len(by_label) == 2
    reached = 0
    assert "seconds are steps times" in cli("leaderboard", "small.toml").stderr
    for row in cli_rows(cli):
        if row["steps_to_target"] is not None:
            reached += 1
            assert row["seconds_to_target"] == pytest.approx(row["steps_to_target"] * by_label[row["optimizer"]])
    assert reached == 2
    ranked = [row for row in cli_rows(cli, "--metric", "seconds_to_target") if row["value"] is not None]
    assert len(ranked) == reached
    for row in ranked:
        assert row["value"] == pytest.approx(row["seconds_to_target"])
        assert math.isfinite(row["low"])
    # measured once
    assert "ms a step" not in cli("run", "small.toml", "--only", "workload=small", "--timed").stderr


def cli_rows(cli: CommandLine, *words: str) -> list[dict[str, Any]]:
    rows = cli.json("leaderboard", "small.toml", "--workload", "small", *words)["rows"]
    return list(rows)


def test_a_step_that_cannot_be_timed_is_told_and_the_others_are(cli: CommandLine, small: Path) -> None:
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = ["--plugin", "faulty.py", "--with", "optimizer=faulty", "--only", "workload=small", "--only", "seed=0"]
    report = cli.json("run", "small.toml", *words, "--timed", code=1)
    assert {failure["trial"] for failure in report["failures"]} >= {"timing of small · faulty"}
    assert len(read_times(results(cli).files)) == 2
