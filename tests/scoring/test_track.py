"""Optimization tracks: the rule, on losses made by hand, and the command with its records."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support import CommandLine
from thalweg.benchmark_file import TrackSpec
from thalweg.commands.track import refusals
from thalweg.present.charts.track import track_chart
from thalweg.scoring.records import Record, read_records
from thalweg.scoring.track import Entry, Means, entries, standings

WORKLOAD: Any = SimpleNamespace(
    target=SimpleNamespace(metric="loss", value=2.0),
    target_split="valid",
    target_metric=SimpleNamespace(better="lower"),
)
TRACK = TrackSpec(workload="text", margin=0.1)


def entry(name: str, losses: list[list[float]], lost: int = 0, gradients: float = 1.0) -> Entry:
    values = np.array(losses)
    return Entry(name, np.array([10, 20, 30]), values, lost, gradients, 2.0, 0.1, tuple(range(values.shape[1])))


def test_the_steps_are_those_of_the_first_mean_that_is_sure() -> None:
    one = entry("one", [[2.5, 2.5], [1.95, 1.95], [1.9, 1.94]])
    # 0.05 sqrt 2 = 0.07 is too little, 0.08 sqrt 2 = 0.113 is enough
    assert one.statistics == pytest.approx([-0.5 * 2**0.5, 0.05 * 2**0.5, 0.08 * 2**0.5])
    assert one.place == 2
    # four runs are surer of the same mean than two
    assert entry("four", [[2.5] * 4, [1.95] * 4, [1.9] * 4]).place == 1
    # a run that was lost costs the entry its steps
    assert entry("lost", [[1.0], [1.0], [1.0]], lost=1).place is None


def test_entries_are_compared_at_the_steps_of_the_one() -> None:
    one = entry("one", [[2.5, 2.5], [1.9, 1.9], [1.8, 1.8]])
    other = Means({10: 2.4, 20: 2.1}, 8)
    assert one.against(other) == pytest.approx((2.1 - 1.9) / math.sqrt(1 / 2 + 1 / 8))
    assert math.isnan(one.against(Means({30: 2.1}, 8)))  # not evaluated at the same step
    rows = standings(
        [entry("slow", [[3, 3], [2.5, 2.5], [1.9, 1.9]]), one, entry("never", [[3], [3], [2.9]])], None, ""
    )
    assert rows["optimizer"].tolist() == ["one", "slow", "never"]
    assert rows["steps"].tolist()[:2] == [20, 30]
    assert math.isnan(rows["steps"].tolist()[2])
    assert rows["against"].tolist() == ["slow", "one", "one"]
    assert rows["statistic"].tolist()[2] == pytest.approx(-0.9)


def test_entries_are_read_from_curves() -> None:
    curves, trials = [], []
    for optimizer, seed, status, losses in [
        ("a", 0, "done", [3, 2.1, 1.8]),
        ("a", 1, "done", [3, 2.0, 1.9]),
        ("b", 0, "diverged", [3, 9, 9]),
        ("b", 1, "done", [3, 2, 1]),
    ]:
        trials.append({"optimizer": optimizer, "seed": seed, "status": status})
        for step, value in zip((0, 10, 20), losses, strict=True):
            for split in ("valid", "train"):
                row = {"optimizer": optimizer, "seed": seed, "step": step, "split": split, "metric": "loss"}
                row |= {"value": value if split == "valid" else 0.0, "gradient_evaluations": 2 * step}
                curves.append(row | {"curvature_products": step})
    a, b = entries(pd.DataFrame(trials), pd.DataFrame(curves), WORKLOAD, TRACK)
    assert a.grid.tolist() == [10, 20]  # the start is no step
    assert a.losses.tolist() == [[2.1, 2.0], [1.8, 1.9]]
    assert (a.lost, a.gradients) == (0, 3.0)
    assert (b.lost, b.runs, b.place) == (1, 1, None)


def test_more_is_better_for_an_accuracy() -> None:
    values = np.array([[0.3, 0.3], [0.95, 0.95]])
    one = Entry("one", np.array([10, 20]), values, 0, 1.0, 0.9, 0.05, (0, 1), sign=-1)
    assert one.statistics == pytest.approx([-0.6 * 2**0.5, 0.05 * 2**0.5])
    assert one.place == 1
    assert one.against(Means({20: 0.8}, 2)) == pytest.approx(0.15)
    trials = pd.DataFrame([{"optimizer": "a", "seed": 0, "status": "done"}])
    row = {"optimizer": "a", "seed": 0, "step": 10, "split": "valid", "metric": "accuracy", "value": 0.3}
    curves = pd.DataFrame([row | {"gradient_evaluations": 10, "curvature_products": 0}])
    target = SimpleNamespace(metric="accuracy", value=0.9)
    workload: Any = SimpleNamespace(target=target, target_split="valid", target_metric=SimpleNamespace(better="higher"))
    (found,) = entries(trials, curves, workload, TRACK)
    assert (found.sign, found.place, found.seeds) == (-1, None, (0,))


def record(steps: int, means: dict[int, float]) -> Record:
    return Record(steps=steps, optimizer="old", trial={}, statistic=1.0, against="", difference=None,
                  runs=dict.fromkeys(range(8), "0" * 12), means=means, by="someone", date="2026-01-01")  # fmt: skip


def test_a_record_must_be_sure_quicker_and_of_one_gradient_a_step() -> None:
    one = entry("one", [[2.5, 2.5], [1.9, 1.9], [1.8, 1.8]])
    assert refusals(one, None, 2) == []
    assert refusals(one, record(30, {20: 2.1, 30: 2.0}), 2) == []
    assert "and the record 20" in refusals(one, record(20, {20: 2.1}), 2)[0]
    assert "less than the margin" in refusals(one, record(30, {20: 1.91, 30: 1.9}), 2)[0]
    assert "was not evaluated at step 20" in refusals(one, record(30, {30: 2.1}), 2)[0]
    assert "3 gradients" in refusals(entry("one", [[2, 2], [1.9, 1.9], [1.8, 1.8]], gradients=3), None, 2)[0]
    assert "is never" in refusals(entry("one", [[2], [2], [2]]), None, 1)[0]
    # one lucky run, or chosen ones
    assert "asks for are not there: 1, 2" in refusals(entry("one", [[1], [1], [1]]), None, 3)[0]
    assert "1 of its runs" in refusals(entry("one", [[1], [1], [1]], lost=1), None, 1)[0]


def test_the_chart_marks_the_steps() -> None:
    found = [entry("adam", [[2.5, 2.5], [1.9, 1.9], [1.8, 1.8]]), entry("sgd", [[3, 3], [2.9, 2.9], [2.8, 2.8]])]
    chart = track_chart(found, "valid loss", 2.0, ["adam", "sgd"]).to_dict()
    points = [row for rows in chart["datasets"].values() for row in rows if len(rows) == 1 and "step" in row]
    assert points == [{"optimizer": "adam", "step": 20, "loss": 1.9}]


TEXT = """
title = "Small track"
seeds = 3
[workloads.text]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { steps = 60 }
batch_size = 32
validation_fraction = 0.2
evaluate_every = { steps = 10 }
target = { metric = "loss", value = 2.0 }
[track]
workload = "text"
margin = 0.01
[optimizers.sgd]
lr = 0.05
[optimizers.adam]
lr = 0.01
"""


def test_a_track_from_the_run_to_the_record(cli: CommandLine) -> None:
    (cli.folder / "t.toml").write_text(TEXT, encoding="utf-8")
    assert "no results" in cli("track", "t.toml", code=3).stderr
    nothing = json.loads(cli("track", "t.toml", "--json", code=3).stdout)
    assert (nothing["rows"], nothing["records"]) == ([], [])
    cli("run", "t.toml")
    board = cli.json("track", "t.toml")
    steps = {row["optimizer"]: row["steps"] for row in board["rows"]}
    assert steps["adam"] < (steps["sgd"] or math.inf)
    assert board["records"] == []
    assert "name who enters" in cli("track", "t.toml", "--add", "adam", code=2).stderr
    assert "adamw" in cli("track", "t.toml", "--add", "adamw", "--by", "me", code=2).stderr
    slow = "is no record" if steps["sgd"] is None else "record 1"
    assert slow in cli("track", "t.toml", "--add", "sgd", "--by", "me", code=None).stderr
    cli("track", "t.toml", "--add", "adam", "--by", "me")
    entered = read_records(cli.folder / "results/local/t.records.json")[-1]
    assert (entered.optimizer, entered.steps, sorted(entered.runs)) == ("adam", steps["adam"], [0, 1, 2])
    assert entered.trial["optimizer"]["name"] == "adam"
    assert entered.trial["optimizer"]["options"] == {"lr": 0.01}
    listed = {trial["hash"] for trial in cli.json("results", "list")["trials"]}
    assert set(entered.runs.values()) <= listed
    # the same entry is not quicker than itself
    again = cli("track", "t.toml", "--add", "adam", "--by", "me", code=1)
    assert "and the record" in again.stderr
    assert "by me with" in " ".join(cli("track", "t.toml").stdout.split())
    assert "is no track" in cli("track", "quick", code=2).stderr


GOOD = record(30, {30: 1.0}).model_dump(mode="json")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("{}", "no list of records"),
        ("[1]", "record 1: input should be"),
        ('[{"steps": 1}]', "record 1: optimizer: field required"),
        *(
            (json.dumps([GOOD | wrong]), told)
            for wrong, told in [
                ({"steps": -5}, "record 1: steps: "),
                ({"steps": True}, "record 1: steps: "),
                ({"steps": "30"}, "record 1: steps: "),
                ({"steps": 45}, "means has no value at the record's steps"),
                ({"steps": 10**400}, "record 1: steps: "),
                ({"runs": {}}, "record 1: runs: "),
                ({"means": {}}, "means has no value"),
                ({"means": {"30": float("nan")}}, "record 1: means"),
                ({"means": {"30": "0.5"}}, "record 1: means"),
                ({"means": {"30": 1e308}}, "record 1: means"),
                ({"optimizer": "x" * 1_000_000}, "record 1: optimizer: "),
                ({"more": 1}, "record 1: more: "),
            ]
        ),
    ],
)
def test_a_damaged_file_of_records_is_told(cli: CommandLine, content: str, told: str) -> None:
    (cli.folder / "t.toml").write_text(TEXT, encoding="utf-8")
    cli("run", "t.toml", "--only", "optimizer=adam", "--seeds", "1")
    path = cli.folder / "results/local/t.records.json"
    path.write_text(content, encoding="utf-8")
    said = cli("track", "t.toml", code=2).stderr
    assert told in said
    assert len(said) < 500
    path.write_text(json.dumps([]), encoding="utf-8")
    cli("track", "t.toml")
