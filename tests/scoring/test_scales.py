"""Losses below zero on a declared log scale: means, ranks and verdicts use the numbers without a logarithm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from support import CommandLine
from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.scoring.intervals import t_interval
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.observations import TRIAL_COLUMNS, Observations
from thalweg.scoring.scales import changes, settled

LOSS = Metric("loss", "lower", "log")
WELL = Workload("well", (LOSS,), LOSS, "train", None, "train", None, "step")


def seen(ends: dict[str, list[float]], first: float = 1.0, split: str = "train") -> Observations:
    """Of each optimizer and seed the loss at steps 0 and 10."""
    names = [("well", optimizer, seed) for optimizer, values in ends.items() for seed in range(len(values))]
    trials = pd.DataFrame([(*name, "", "done", "", "", 0, 0) for name in names], columns=TRIAL_COLUMNS)
    rows = [
        (*name, step, split, "loss", value)
        for name in names
        for step, value in ((0, first), (10, ends[name[1]][name[2]]))
    ]
    return Observations(
        trials, pd.DataFrame(rows, columns=["workload", "optimizer", "seed", "step", "split", "metric", "value"])
    )


def board(of: Observations, measure: str | None = None) -> dict[str, dict[str, float]]:
    table = leaderboard(of, {"well": WELL}, measure)
    return {row["optimizer"]: row for row in table.to_dict("records")}  # type: ignore[misc]


def test_a_loss_below_zero_is_averaged_as_it_is_and_ranks() -> None:
    ends = {"poor": [-3.0, -3.1, -3.2], "good": [-5.0, -4.9, -4.8], "up": [2.0, 2.1, 2.2]}
    found = board(seen(ends))
    assert [(name, row["rank_low"], row["rank_high"]) for name, row in found.items()] == [
        ("good", 1, 1),
        ("poor", 2, 2),
        ("up", 3, 3),
    ]
    for name, values in ends.items():
        expected = (np.mean(values), *stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values)))
        assert [found[name][key] for key in ("value", "low", "high")] == pytest.approx(expected, rel=1e-12)


def test_the_area_of_a_curve_below_zero_is_the_trapezoid() -> None:
    found = board(seen({"a": [-3.0, -5.0]}), "area_under_curve")
    assert found["a"]["value"] == pytest.approx(np.mean([(1 - 3) / 2, (1 - 5) / 2]))


def test_zeros_change_no_scale_and_neither_does_a_split_that_is_not_read() -> None:
    zeros = seen({"a": [0.0, 1.0], "b": [2.0, 2.0]})
    elsewhere = seen({"a": [-1.0]}, split="valid")
    for of in (zeros, elsewhere):
        assert settled({"well": WELL}, of.curves)["well"] == WELL
    assert board(zeros)["b"]["value"] == pytest.approx(2.0)


def test_the_rule_holds_for_the_whole_workload_and_is_told_once() -> None:
    # one evaluation in the middle is enough: what is better must not depend on when the curve crosses zero
    after = settled({"well": WELL, "other": replace(WELL, name="other")}, seen({"a": [1.0]}, first=-1.0).curves)
    assert (after["well"].metric.scale, after["other"].metric.scale) == ("linear", "log")
    (told,) = changes({"well": WELL, "other": replace(WELL, name="other")}, after)
    assert told.startswith("well: loss has values below zero")
    assert 'Metric("loss", "lower", "linear")' in told


def test_a_logarithm_of_a_number_below_zero_is_refused_and_never_a_floor() -> None:
    with pytest.raises(ValueError, match="-2 is below zero"):
        t_interval([1.0, -2.0], log=True)


PROBLEM = """
import thalweg

class Well(thalweg.Problem):
    name, summary, splits = "well", "a bowl whose lowest value is -5", ("train",)

    def shape(self, options):
        return thalweg.Shape("function", (), (2,))

    def load(self, options, context):
        import torch
        from thalweg.contracts.analytic import AnalyticFunction
        draw = lambda g: torch.randn(2, generator=g, dtype=torch.float64)
        return AnalyticFunction(lambda x: x.square().sum() - 5, draw)

@thalweg.hookimpl
def thalweg_register_problems(register):
    register(Well)
"""

BENCHMARK = """
seeds = 6

[workloads.well]
problem = "well"
architecture = "point"
dtype = "float64"
budget = { steps = 40 }
evaluate_every = { steps = 2 }
target = { metric = "loss", value = -4.9 }

[optimizers.good]
optimizer = "sgd"
lr = 0.3

[optimizers.poor]
optimizer = "sgd"
lr = 0.001
"""


def test_boards_comparisons_and_reports_of_such_a_problem(cli: CommandLine, tmp_path: Path) -> None:
    (cli.folder / "well.py").write_text(PROBLEM, encoding="utf-8")
    (cli.folder / "well.toml").write_text(BENCHMARK, encoding="utf-8")
    told = 'well: loss has values below zero, so its scale is linear, not log: Metric("loss", "lower", "linear")'
    assert told in cli("run", "well.toml", "--plugin", "well.py").stderr
    ask = ("well.toml", "--plugin", "well.py")
    assert told in cli("leaderboard", *ask).stderr
    good, poor = cli.json("leaderboard", *ask)["rows"]
    assert (good["optimizer"], good["value"]) == ("good", pytest.approx(-5.0, abs=1e-12))
    assert -5 < poor["value"] < 0
    folder = "results/local"
    report = cli.json("compare", f"{folder}:poor", f"{folder}:good", "--plugin", "well.py")
    (row,) = [row for row in report["rows"] if row["metric"] == "loss"]
    assert row["baseline"] == pytest.approx(poor["value"])
    assert row["candidate"] == pytest.approx(good["value"])
    assert row["difference"] == pytest.approx((good["value"] - poor["value"]) / abs(poor["value"]))
    assert [note for note in report["notes"] if told in note]
    cli("report", *ask, "--out", "report.html")
    page = (cli.folder / "report.html").read_text(encoding="utf-8")
    assert "has values below zero, so its scale is linear" in page
    assert "Geometric mean over the seeds that finished" not in page
