"""Mean curves against values worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.present.curves import (
    DIVERGED,
    SELECTED,
    ZERO,
    has_log_axis,
    marks,
    mean_curves,
    metrics_of,
    seed_curves,
    smoothed,
    sparklines,
    splits_of,
)

LOSS = Metric("loss", "lower", "log")
ACCURACY = Metric("accuracy", "higher", unit="%")
WORKLOAD = Workload("w", (ACCURACY, LOSS), LOSS, "train", None, "train", None)


def curves(values: dict[int, list[float]], split: str = "train", metric: str = "loss") -> pd.DataFrame:
    """One optimizer's curve for each seed."""
    return pd.DataFrame(
        [
            {
                "step": 10 * place,
                "epoch": float(place),
                "examples": 100 * place,
                "gradient_evaluations": 10 * place,
                "curvature_products": 30 * place,
                "factor_inversions": place,
                "work": 150.0 * place,
                "seconds": (1 + seed) * place,
                "split": split,
                "metric": metric,
                "value": value,
                "optimizer": "sgd",
                "seed": seed,
            }
            for seed, line in values.items()
            for place, value in enumerate(line)
        ]
    )


def test_the_mean_is_geometric_on_a_log_scale_and_the_band_is_smallest_to_largest() -> None:
    table = curves({0: [1.0, 0.01], 1: [4.0, 0.0001]})
    means = mean_curves(table, "loss", "train", log=True)
    assert list(means["value"]) == pytest.approx([2.0, 0.001])
    assert list(means["low"]) == [1.0, 0.0001]
    assert list(means["high"]) == [4.0, 0.01]
    assert list(mean_curves(table, "loss", "train", log=False)["value"]) == pytest.approx([2.5, 0.00505])


def test_seeds_are_aligned_by_step_and_their_seconds_are_averaged() -> None:
    means = mean_curves(curves({0: [1.0, 1.0], 1: [1.0, 1.0]}), "loss", "train", log=False)
    assert list(means["step"]) == [0, 10]
    assert list(means["seconds"]) == [0.0, 1.5]
    assert list(means["seeds"]) == [2, 2]


def test_what_is_not_finite_or_not_positive_on_a_log_scale_is_left_out() -> None:
    table = curves({0: [1.0, math.inf, 0.0], 1: [1.0, 2.0, 3.0]})
    assert list(mean_curves(table, "loss", "train", log=True)["value"]) == pytest.approx([1.0, 2.0, 3.0])
    assert list(mean_curves(table, "loss", "train", log=False)["value"]) == pytest.approx([1.0, 2.0, 1.5])


def test_no_rows_give_an_empty_table_with_the_same_columns() -> None:
    full = mean_curves(curves({0: [1.0]}), "loss", "train", log=True)
    assert list(mean_curves(curves({0: [1.0]}), "loss", "valid", log=True).columns) == list(full.columns)


def test_sparklines_are_logarithms_on_the_validation_split_where_there_is_one() -> None:
    train, valid = curves({0: [1.0, 0.1]}), curves({0: [10.0, 0.01]}, split="valid")
    assert sparklines(train, WORKLOAD).lines["sgd"] == pytest.approx([0.0, -1.0])
    both = sparklines(pd.concat([train, valid]), WORKLOAD)
    assert both.lines["sgd"] == pytest.approx([1.0, -2.0])
    assert both.heading == "valid loss, log scale"


def test_metrics_and_splits_are_those_that_have_curves() -> None:
    table = pd.concat([curves({0: [1.0]}), curves({0: [0.5]}, split="optimizer", metric="damping")])
    assert [metric.name for metric in metrics_of(table, WORKLOAD)] == ["loss", "damping"]
    assert splits_of(table, "damping") == ["optimizer"]


def test_curves_with_values_below_zero_are_drawn_whole_on_a_linear_axis() -> None:
    table = curves({0: [1.0, -1.0, -3.0], 1: [3.0, -3.0, -5.0]})
    assert not has_log_axis(table, LOSS, "train")
    assert sparklines(table, WORKLOAD).lines == {"sgd": [2.0, -2.0, -4.0]}
    # zeros keep the log axis, which leaves them out
    assert has_log_axis(curves({0: [1.0, 0.0]}), LOSS, "train")
    assert not has_log_axis(table, ACCURACY, "train")


def test_a_curve_of_zeros_runs_along_the_foot_of_its_sparkline() -> None:
    table = pd.concat(
        [curves({0: [1.0, 0.01, 0.0], 1: [1.0, 0.01, 0.0]}), curves({0: [1.0, 0.1]}).assign(optimizer="b")]
    )
    lines = sparklines(table, WORKLOAD).lines
    assert lines["sgd"] == pytest.approx([0.0, -2.0, -3.0])
    assert lines["b"] == pytest.approx([0.0, -1.0])
    # a seed that is not at zero has the mean to itself
    assert sparklines(curves({0: [1.0, 0.0], 1: [1.0, 0.1]}), WORKLOAD).lines["sgd"] == pytest.approx([0.0, -1.0])


def test_smoothing_is_the_weighted_mean_of_its_formula() -> None:
    means = mean_curves(curves({0: [4.0, 2.0, 8.0]}), "loss", "train", log=False)
    assert list(smoothed(means, 0.5, log=False)["value"]) == pytest.approx(
        [4.0, (0.5 * 4 + 2) / 1.5, (0.25 * 4 + 0.5 * 2 + 8) / 1.75]
    )
    on_logs = list(smoothed(means, 0.5, log=True)["value"])
    assert on_logs[1] == pytest.approx(math.exp((0.5 * math.log(4) + math.log(2)) / 1.5))
    assert smoothed(means, 0.0, log=True).equals(means)


def test_every_seed_has_a_line_of_its_own() -> None:
    table = seed_curves(curves({0: [1.0, 0.5], 3: [2.0, 0.0]}), "loss", "train", log=True)
    assert list(zip(table["seed"], table["value"], strict=True)) == [(0, 1.0), (0, 0.5), (3, 2.0)]
    assert (table["low"] == table["value"]).all()


def test_marks_tell_where_a_trial_diverged_was_selected_and_reached_zero() -> None:
    valid = Workload("w", (ACCURACY, LOSS), ACCURACY, "test", None, "valid", None)
    losses = curves({0: [3.0, 2.0, 0.0], 1: [3.0, 9.0, math.inf]})
    accuracies = curves({0: [0.1, 0.9, 0.9], 1: [0.2, 0.1, math.nan]}, split="valid", metric="accuracy")
    trials = pd.DataFrame({"optimizer": "sgd", "seed": [0, 1], "status": ["done", "diverged"]})
    found = marks(pd.concat([losses, accuracies]), trials, valid, "loss", "train", log=True)
    told = {(row["what"], row["seed"]): (row["step"], row["value"]) for row in found.to_dict("records")}
    assert told == {
        (DIVERGED, 1): (10, 9.0),
        # the earliest of equally good evaluations
        (SELECTED, 0): (10, 2.0),
        (SELECTED, 1): (0, 3.0),
        (ZERO, 0): (20, 0.0),
    }
    without = marks(losses, trials, WORKLOAD, "loss", "train", log=False)
    assert set(without["what"]) == {DIVERGED}
