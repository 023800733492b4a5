"""The specifications of charts."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from thalweg.benchmark_file import Target
from thalweg.contracts import Metric
from thalweg.present.charts.critical import critical_chart
from thalweg.present.charts.curves import curve_chart
from thalweg.present.charts.improvement import improvement_chart
from thalweg.present.charts.intervals import interval_chart
from thalweg.present.charts.over_all import ecdf_chart
from thalweg.present.charts.trial import trial_chart
from thalweg.scoring.critical import CriticalDifference

LOSS = Metric("loss", "lower", "log")
ACCURACY = Metric("accuracy", "higher", unit="%")
AMONG = ["adam", "lbfgs", "sgd"]


def board(**values: float) -> pd.DataFrame:
    rows = [
        {"optimizer": label, "value": value, "low": value / 2, "high": value * 2} for label, value in values.items()
    ]
    return pd.DataFrame(rows)


def means(low: float = 0.1) -> pd.DataFrame:
    steps = [0, 10]
    return pd.DataFrame(
        {"optimizer": "sgd", "step": steps, "epoch": steps, "seconds": steps, "examples": steps,
         "gradient_evaluations": steps, "curvature_products": steps, "factor_inversions": steps, "work": steps,
         "value": [1.0, 0.5], "low": [0.5, low], "high": [2.0, 0.9], "seeds": 2}
    )  # fmt: skip


def test_the_interval_chart_is_ordered_as_the_board_and_logarithmic_for_losses() -> None:
    spec: dict[str, Any] = interval_chart(board(sgd=1e-3, adam=1e-2), LOSS, "train", AMONG).to_dict()
    bars, dots = spec["layer"]
    assert dots["encoding"]["y"]["sort"] == ["sgd", "adam"]
    assert dots["encoding"]["x"]["scale"]["type"] == "log"
    assert dots["encoding"]["x"]["title"] == "loss (train, log scale)"
    assert bars["encoding"]["x2"]["field"] == "high"


def test_fractions_are_shown_in_percent_without_starting_at_zero() -> None:
    spec: dict[str, Any] = interval_chart(board(sgd=0.9), ACCURACY, "test", AMONG).to_dict()
    x = spec["layer"][1]["encoding"]["x"]
    assert x["axis"]["format"] == "~%"
    assert x["scale"]["zero"] is False


def test_an_optimizer_without_a_value_is_left_out_of_the_interval_chart() -> None:
    table = board(sgd=1.0, adam=float("nan"))
    spec: dict[str, Any] = interval_chart(table, LOSS, "train", AMONG).to_dict()
    assert spec["layer"][1]["encoding"]["y"]["sort"] == ["sgd"]


@pytest.mark.parametrize(
    "axis",
    ["step", "epoch", "work", "gradient_evaluations", "curvature_products", "factor_inversions", "examples", "seconds"],
)
def test_curves_have_a_band_a_line_and_the_target(axis: str) -> None:
    spec: dict[str, Any] = curve_chart(
        means(), LOSS, "train", axis, AMONG, log_y=True, target=Target(metric="loss", value=0.3)
    ).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["area", "line", "rule", "text"]
    assert spec["layer"][1]["encoding"]["x"]["field"] == axis
    assert spec["layer"][2]["mark"]["strokeDash"] == [6, 4]


def test_the_target_of_another_metric_is_not_drawn() -> None:
    spec: dict[str, Any] = curve_chart(
        means(), LOSS, "train", "step", AMONG, log_y=True, target=Target(metric="accuracy", value=0.3)
    ).to_dict()
    assert len(spec["layer"]) == 2


def test_points_that_a_log_axis_cannot_show_are_left_out() -> None:
    chart = curve_chart(means(low=0.0), LOSS, "train", "step", AMONG, log_y=True)
    assert list(chart.data["step"]) == [0]
    chart = curve_chart(means(), LOSS, "train", "step", AMONG, log_x=True, log_y=True)
    assert list(chart.data["step"]) == [10]


def test_a_trials_chart_has_a_line_for_each_split_and_the_selected_step() -> None:
    curve = pd.DataFrame(
        {"step": [0, 10, 0, 10, 10], "split": ["train", "train", "valid", "valid", "test"], "metric": "accuracy",
         "value": [0.1, 0.9, 0.1, 0.8, 0.7]}
    )  # fmt: skip
    spec: dict[str, Any] = trial_chart(curve, ACCURACY, 10).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["line", "point", "rule"]
    assert spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["train", "valid", "test"]


def test_improvement_is_a_matrix_in_the_order_given_with_what_is_certain_in_bold() -> None:
    pairs = pd.DataFrame(
        [("adam", "sgd", 0.8, 0.6, 0.9), ("sgd", "adam", 0.2, 0.1, 0.4), ("adam", "lbfgs", 0.5, 0.3, 0.7)],
        columns=["optimizer", "over", "probability", "low", "high"],
    )
    spec: dict[str, Any] = improvement_chart(pairs, ["sgd", "adam", "lbfgs"]).to_dict()
    cells, plain, bold = spec["layer"]
    for axis in ("x", "y"):
        assert cells["encoding"][axis]["sort"] == ["sgd", "adam", "lbfgs"]
    assert cells["encoding"]["color"]["scale"]["domain"] == [0, 1]
    assert bold["mark"]["fontWeight"] == "bold"
    assert plain["transform"] != bold["transform"]
    rows = next(iter(spec["datasets"].values()))
    assert [row["certain"] for row in rows] == [True, True, False]


def test_the_critical_difference_has_a_bar_of_its_length_and_one_for_each_group() -> None:
    ranks = pd.Series({"sgd": 1.2, "adam": 2.1, "lbfgs": 2.7})
    found = CriticalDifference(ranks, 1.0, 0.01, [("sgd", "adam"), ("adam", "lbfgs")], 12)
    spec: dict[str, Any] = critical_chart(found, AMONG).to_dict()
    spans, points = spec["layer"]
    bars = {row["optimizer"]: (row["low"], row["high"]) for row in spec["datasets"][spans["data"]["name"]]}
    assert bars == {
        "critical difference": (1.0, 2.0),
        "not told apart (1)": (1.2, 2.1),
        "not told apart (2)": (2.1, 2.7),
    }
    assert points["encoding"]["y"]["sort"][:3] == ["sgd", "adam", "lbfgs"]
    assert spans["encoding"]["x"]["scale"] == points["encoding"]["x"]["scale"]


def test_the_ecdf_is_a_step_line_with_a_legend_of_colours_and_dashes() -> None:
    curve = pd.DataFrame({"optimizer": "sgd", "share": [0.01, 1.0], "reached": [0.0, 1.0]})
    spec: dict[str, Any] = ecdf_chart(curve, AMONG).to_dict()
    assert spec["mark"]["interpolate"] == "step-after"
    encoding = spec["encoding"]
    assert encoding["color"]["legend"] == encoding["strokeDash"]["legend"]
    assert encoding["x"]["scale"]["type"] == "log"
