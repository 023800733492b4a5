"""Charts as the specifications that they are."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from thalweg.app.charts import DASHES, PALETTE, curve_chart, interval_chart, style, trial_chart
from thalweg.benchmark_file import Target
from thalweg.contracts import Metric

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
         "gradient_evaluations": steps, "curvature_products": steps, "factor_inversions": steps,
         "value": [1.0, 0.5], "low": [0.5, low], "high": [2.0, 0.9], "seeds": 2}
    )  # fmt: skip


def test_an_optimizer_keeps_its_colour_whatever_else_is_shown() -> None:
    domain, colors, dashes, _ = style(["sgd"], AMONG)
    assert (domain, colors, dashes) == (["sgd"], [PALETTE[2]], [DASHES[2]])
    everything = style(["sgd", "adam", "lbfgs"], AMONG)
    assert everything[0] == AMONG
    assert everything[1][2] == colors[0]


def test_a_colour_and_a_dash_together_tell_56_optimizers_apart() -> None:
    labels = [f"{place:02}" for place in range(56)]
    _, colors, dashes, _ = style(labels, labels)
    assert len({(color, tuple(dash)) for color, dash in zip(colors, dashes, strict=True)}) == 56


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
    "axis", ["step", "epoch", "gradient_evaluations", "curvature_products", "factor_inversions", "examples", "seconds"]
)
def test_curves_have_a_band_a_line_and_the_target(axis: str) -> None:
    spec: dict[str, Any] = curve_chart(
        means(), LOSS, "train", axis, AMONG, False, True, Target(metric="loss", value=0.3)
    ).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["area", "line", "rule", "text"]
    assert spec["layer"][1]["encoding"]["x"]["field"] == axis
    assert spec["layer"][2]["mark"]["strokeDash"] == [6, 4]


def test_the_target_of_another_metric_is_not_drawn() -> None:
    spec: dict[str, Any] = curve_chart(
        means(), LOSS, "train", "step", AMONG, False, True, Target(metric="accuracy", value=0.3)
    ).to_dict()
    assert len(spec["layer"]) == 2


def test_points_that_a_log_axis_cannot_show_are_left_out() -> None:
    chart = curve_chart(means(low=0.0), LOSS, "train", "step", AMONG, False, True, None)
    assert list(chart.data["step"]) == [0]
    chart = curve_chart(means(), LOSS, "train", "step", AMONG, True, True, None)
    assert list(chart.data["step"]) == [10]


def test_a_trials_chart_has_a_line_for_each_split_and_the_selected_step() -> None:
    curve = pd.DataFrame(
        {"step": [0, 10, 0, 10, 10], "split": ["train", "train", "valid", "valid", "test"], "metric": "accuracy",
         "value": [0.1, 0.9, 0.1, 0.8, 0.7]}
    )  # fmt: skip
    spec: dict[str, Any] = trial_chart(curve, ACCURACY, 10).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["line", "point", "rule"]
    assert spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["train", "valid", "test"]
