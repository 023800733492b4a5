"""Measures over a curve against cases computed by hand, and stability against scipy's exact interval."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from support import CommandLine
from thalweg.contracts import Metric
from thalweg.contracts.budget import Budget, Target
from thalweg.contracts.problem import RESERVED
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.scoring.intervals import FLOOR
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import AREA, FINAL, MEASURES, TRAINING_LOSS, check_metric, ranking_metric, values_by_seed
from thalweg.scoring.observations import TRIAL_COLUMNS, Observations
from thalweg.scoring.stability import share_interval

ACCURACY = Metric("accuracy", "higher", unit="%")
LOSS = Metric("loss", "lower", "log")
TARGET = Target(metric="accuracy", value=0.9)
DIGITS = Workload("digits", (ACCURACY, LOSS), ACCURACY, "test", TARGET, "valid", ACCURACY)
QUADRATIC = Workload("q", (LOSS,), LOSS, "train", None, "train", None, axis="step")


def curve(split: str, metric: str, points: list[tuple[int, float, float]], seed: int = 0) -> pd.DataFrame:
    """``points`` are step, epoch and value."""
    table = pd.DataFrame(points, columns=["step", "epoch", "value"])
    return table.assign(optimizer="a", seed=seed, workload="digits", split=split, metric=metric)


def value(workload: Workload, name: str, *curves: pd.DataFrame) -> float:
    metric = ranking_metric(workload, name)
    assert metric is not None
    return values_by_seed(workload, metric, pd.concat(curves))["a"][0]


def test_each_is_read_where_its_name_says() -> None:
    curves = [
        curve("valid", "accuracy", [(0, 0.0, 0.1), (10, 1.0, 0.95), (20, 2.0, 0.8)]),
        curve("train", "accuracy", [(0, 0.0, 0.2), (20, 2.0, 0.99)]),
        curve("train", "loss", [(0, 0.0, 2.0), (20, 2.0, 0.05)]),
        curve("valid", "loss", [(0, 0.0, 3.0), (20, 2.0, 0.7)]),
        curve("test", "accuracy", [(10, 1.0, 0.94)]),
    ]
    assert value(DIGITS, FINAL, *curves) == 0.8
    assert value(DIGITS, TRAINING_LOSS, *curves) == 0.05
    assert value(DIGITS, "accuracy", *curves) == 0.94
    assert value(DIGITS, "gradient_evaluations_to_target", *(c.assign(gradient_evaluations=c["step"] * 3) for c in curves)) == 30  # fmt: skip  # noqa: E501
    # from 0.1 to 0.95 and on to 0.8, each for half of the budget
    assert value(DIGITS, AREA, *curves) == pytest.approx((0.1 + 0.95) / 4 + (0.95 + 0.8) / 4)


def test_the_area_is_a_mean_over_what_is_spent_on_logarithms_for_a_loss() -> None:
    # exp(-t) over 0 to 3 looked at unevenly: log is linear, so the trapezoid rule is exact and gives exp(-1.5)
    points = [(step, step / 7, math.exp(-step)) for step in (0, 1, 3)]
    assert value(QUADRATIC, AREA, curve("train", "loss", points)) == pytest.approx(math.exp(-1.5))
    # rows in another order, and of another trial, change nothing
    mixed = pd.concat([curve("train", "loss", points[::-1]), curve("train", "loss", [(0, 0.0, 9.0)], seed=1)])
    found = values_by_seed(QUADRATIC, LOSS.__class__(AREA, "lower", "log"), mixed)["a"]
    assert found == pytest.approx({0: math.exp(-1.5), 1: 9.0})  # of a single evaluation its value


def test_a_curve_with_a_value_that_is_not_finite_has_no_area() -> None:
    for bad in (math.nan, math.inf):
        for place in range(3):
            values = [0.9, 0.9, 0.9]
            values[place] = bad
            points = [(10 * i, float(i), v) for i, v in enumerate(values)]
            assert math.isnan(value(DIGITS, AREA, curve("valid", "accuracy", points)))
    # and the last value is the last one, also where it is not a number
    assert math.isnan(value(DIGITS, FINAL, curve("valid", "accuracy", [(0, 0.0, 0.9), (10, 1.0, math.nan)])))


def test_zeros_count_as_the_floor_in_an_area_on_logarithms() -> None:
    points = [(step, float(step), 1e-10) for step in range(10)] + [(10, 10.0, 0.0)]
    # half of the last tenth is the floor
    expected = math.exp(0.95 * math.log(1e-10) + 0.05 * math.log(FLOOR))
    assert value(QUADRATIC, AREA, curve("train", "loss", points)) == pytest.approx(expected)


def test_the_axis_is_that_of_the_budget() -> None:
    assert Budget(epochs=3).axis == ("epoch", 3.0)
    assert Budget(steps=7).axis == ("step", 7.0)
    assert Budget(gradient_evaluations=9).axis == ("gradient_evaluations", 9.0)
    assert Budget(seconds=2.5).axis == ("seconds", 2.5)
    points = [(0, 0.0, 0.0), (10, 1.0, 1.0), (20, 4.0, 1.0)]  # accuracy
    epochs = value(DIGITS, AREA, curve("valid", "accuracy", points))
    by_step = Workload("d", (ACCURACY,), ACCURACY, "test", TARGET, "valid", ACCURACY, axis="step")
    assert epochs == pytest.approx((0.5 + 3.0) / 4)
    assert value(by_step, AREA, curve("valid", "accuracy", points)) == pytest.approx(0.75)


def test_a_leaderboard_ranks_by_them_in_their_units() -> None:
    parts, trials = [], []
    for optimizer, finals in {"a": [0.8, 0.9], "b": [0.95, 0.97]}.items():
        for seed, final in enumerate(finals):
            parts.append(
                curve("valid", "accuracy", [(0, 0.0, 0.1), (10, 1.0, final)], seed).assign(optimizer=optimizer)
            )
            names = {"workload": "digits", "optimizer": optimizer, "seed": seed, "hash": f"{optimizer}{seed}"}
            trials.append({**names, "status": "done", "reason": "", "step_seconds": math.nan})
    seen = Observations(pd.DataFrame(trials, columns=TRIAL_COLUMNS), pd.concat(parts))
    board = leaderboard(seen, {"digits": DIGITS}, FINAL)
    assert board["optimizer"].tolist() == ["b", "a"]
    assert board["value"].tolist() == pytest.approx([0.96, 0.85])
    assert board["high"].max() <= 1.0  # an accuracy's interval ends at 1


def test_what_no_workload_has_is_said() -> None:
    with pytest.raises(UserError, match="no workload asked for has a validation split, which final_validation"):
        check_metric({"q": QUADRATIC}, FINAL)
    with pytest.raises(UserError, match="no workload asked for has a target, which stability needs"):
        check_metric({"q": QUADRATIC}, "stability")
    with pytest.raises(UserError, match="did you mean 'area_under_curve'"):
        check_metric({"q": QUADRATIC}, "area_under_curv")
    assert set(MEASURES) == RESERVED  # names that no problem may give to a metric
    for name in MEASURES:
        check_metric({"q": QUADRATIC, "digits": DIGITS}, name)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 5), (5, 5), (17, 60)])
def test_the_interval_of_a_share_is_that_of_scipy(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose(share_interval(successes, trials)[1:], [expected.low, expected.high], rtol=1e-9)
    assert share_interval(successes, trials).value == successes / trials


TUNED = """
seeds = 3
[tuning]
method = "grid"
budgets = [4]
decades = 3.0
extend = 0.0
seeds = 2
[workloads.q]
problem = { name = "quadratic", dim = 2, kappa = 2.0 }
architecture = "point"
budget = { steps = 30 }
target = { metric = "loss", value = 1e-2 }
[optimizers.sgd]
[optimizers.adam]
"""


def test_stability_counts_every_setting_and_seed_that_was_tried(cli: CommandLine) -> None:
    (cli.folder / "tuned.toml").write_text(TUNED, encoding="utf-8")
    cli("run", "tuned.toml")
    rows = {row["optimizer"]: row for row in cli.json("leaderboard", "tuned.toml", "--metric", "stability")["rows"]}
    # from the files themselves: tuning trains with seeds from 1000 up
    expected: dict[str, int] = {"sgd": 0, "adam": 0}
    for folder in (cli.folder / "results" / "local" / "tuned" / "trials").iterdir():
        document = json.loads((folder / "trial.json").read_text(encoding="utf-8"))
        if document["trial"]["seed"] >= 1000 and document["status"] == "done":
            expected[document["optimizer"]] += int(pd.read_parquet(folder / "curve.parquet")["value"].min() <= 1e-2)
    for optimizer, row in rows.items():
        assert row["seeds"] == 8
        assert row["reached"] == expected[optimizer]
        assert row["value"] == row["reached"] / 8
        assert row["low"] <= row["value"] <= row["high"]
    assert any(0 < row["reached"] < 8 for row in rows.values())
    shown = cli("leaderboard", "tuned.toml", "--metric", "stability").stdout
    assert "share of settings and seeds that reach the target" in shown
    assert "trials" in shown

    # a trial may lie there under two names
    folder = next((cli.folder / "results" / "local" / "tuned" / "trials").glob("q--sgd--*"))
    shutil.copytree(folder, folder.with_name(folder.name.replace("--sgd--", "--other--")))
    assert cli.json("leaderboard", "tuned.toml", "--metric", "stability")["rows"] == list(rows.values())
    cli("leaderboard", "tuned.toml")

    # without tuning: the seeds that count
    (cli.folder / "plain.toml").write_text(TUNED[: TUNED.index("[tuning]")] + TUNED[TUNED.index("[workloads") :])
    cli("run", "plain.toml")
    for row in cli.json("leaderboard", "plain.toml", "--metric", "stability")["rows"]:
        assert row["seeds"] == 3


def test_compare_takes_measures_of_a_curve_and_refuses_stability(cli: CommandLine) -> None:
    (cli.folder / "plain.toml").write_text(
        TUNED[: TUNED.index("[tuning]")] + TUNED[TUNED.index("[workloads") :], encoding="utf-8"
    )
    cli("run", "plain.toml", "--seeds", "5")
    folder = str(cli.folder / "results" / "local")
    document = cli.json("compare", f"{folder}:sgd", f"{folder}:sgd", "--metric", "area_under_curve")
    assert document["verdict"] == "same"
    assert [row["metric"] for row in document["rows"]] == ["area_under_curve"]
    refused = cli("compare", f"{folder}:sgd", f"{folder}:adam", "--metric", "stability", code=2).stderr
    assert "cannot be compared seed by seed" in refused
