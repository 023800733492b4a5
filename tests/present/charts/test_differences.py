"""The chart of differences: its scale, its margin, and what goes on beyond it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thalweg.contracts import Metric
from thalweg.present.charts.differences import difference_chart, is_ratio
from thalweg.present.compared_sides import charts
from thalweg.present.comparison import Comparison
from thalweg.present.verdicts import ordered
from thalweg.scoring.compare import Pair, compare


def rows(metric: Metric, baseline: list[float], candidate: list[float]) -> list[dict[str, Any]]:
    """The row of a comparison of these seeds."""

    def side(values: list[float]) -> pd.DataFrame:
        return pd.DataFrame({
            "workload": "w", "metric": metric.name, "optimizer": "o", "seed": range(len(values)),
            "finished": np.isfinite(values), "value": values,
        })  # fmt: skip

    table = compare(side(baseline), side(candidate), {"w": [metric]}, [Pair("o", "o")])
    return ordered([{str(key): value for key, value in row.items()} for row in table.to_dict("records")])


def layers(chart: Any, mark: str) -> list[dict[str, Any]]:
    document = chart.to_dict()
    found = []
    for layer in document["layer"]:
        kind = layer["mark"] if isinstance(layer["mark"], str) else layer["mark"]["type"]
        if kind == mark:
            name = layer.get("data", document.get("data", {})).get("name")
            found.append(layer | {"rows": document["datasets"][name]})
    return found


LOSS, ACCURACY = Metric("loss", "lower", "log"), Metric("accuracy", "higher", unit="%")


def test_ratios_have_a_log_axis_whose_zero_is_one() -> None:
    found = rows(LOSS, [1.0, 1.1, 0.9, 1.0, 1.2], [2.0, 2.3, 1.8, 2.0, 2.4])
    chart = difference_chart(found, "", 1, found[0]["metric"])
    (band,) = layers(chart, "bar")
    assert band["encoding"]["x"]["scale"]["type"] == "log"
    (row,) = band["rows"]
    # 10% up is a factor 1.1, and the same factor down
    assert (row["margin_low"], row["margin_high"]) == pytest.approx((1 / 1.1, 1.1))
    assert row["difference"] == pytest.approx(1 + found[0]["difference"])
    zero = next(layer for layer in layers(chart, "rule") if "zero" in layer["rows"][0])
    assert zero["rows"] == [{"zero": 1.0}]


def test_points_have_a_linear_axis_whose_zero_is_zero() -> None:
    found = rows(ACCURACY, [0.9, 0.91, 0.92, 0.9, 0.93], [0.8, 0.81, 0.82, 0.8, 0.83])
    chart = difference_chart(found, "%", 1, found[0]["metric"])
    (band,) = layers(chart, "bar")
    assert "type" not in band["encoding"]["x"]["scale"]
    (row,) = band["rows"]
    assert row["margin_low"] == pytest.approx(-row["margin_high"])
    assert row["difference"] == pytest.approx(-0.1)
    assert chart is not None
    assert chart.to_dict()["title"] == "accuracy: candidate minus baseline"


def test_an_infinite_end_is_an_arrow_at_the_edge() -> None:
    """The candidate diverged at every seed."""
    found = rows(LOSS, [1.0] * 6, [math.nan] * 6)
    assert found[0]["high"] == math.inf
    chart = difference_chart(found, "", 1, found[0]["metric"])
    (arrow,) = (layer for layer in layers(chart, "point") if layer["mark"].get("shape") == "triangle-right")
    (row,) = arrow["rows"]
    domain = arrow["encoding"]["x"]["scale"]["domain"]
    assert row["high"] == domain[1]
    assert row["interval"].endswith("∞")
    assert row["point"] is None


def test_ratios_and_other_relative_differences_are_told_apart() -> None:
    """A loss below zero has no ratio."""
    (ratio,) = rows(LOSS, [1.0, 1.1, 0.9], [2.0, 2.3, 1.8])
    (linear,) = rows(LOSS, [-1.0, -1.1, -0.9], [-2.0, -2.3, -1.8])
    assert (ratio["relative"], is_ratio(ratio)) == (True, True)
    assert (linear["relative"], is_ratio(linear)) == (True, False)


def test_a_row_that_was_not_compared_is_not_drawn() -> None:
    found = rows(LOSS, [1.0], [1.0])
    assert difference_chart([found[0] | {"verdict": "nothing compared"}], "", 1, "loss") is None


def test_no_chart_takes_the_place_of_another_one() -> None:
    """One workload's loss has ratios, and another one's has none."""
    (ratio,) = rows(LOSS, [1.0, 1.1, 0.9], [2.0, 2.3, 1.8])
    (linear,) = rows(LOSS, [-1.0, -1.1, -0.9], [-2.0, -2.3, -1.8])
    for order in ([linear, ratio], [ratio, linear]):
        drawn = charts(Comparison(order, ("a", "b"), {}, [], {}))
        assert list(drawn) == ["loss", "loss, no ratios"]
        assert [chart.to_dict()["title"].partition(":")[0] for chart in drawn.values()] == list(drawn)
        assert [layers(chart, "bar")[0]["encoding"]["x"]["scale"].get("type") for chart in drawn.values()] == [
            "log",
            None,
        ]
