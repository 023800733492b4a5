"""Verdicts on tables of outcomes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thalweg.contracts import Metric
from thalweg.scoring.compare import Margins, Pair, compare, overall
from thalweg.scoring.measures import STEPS
from thalweg.scoring.outcomes import COLUMNS

ACCURACY = Metric("accuracy", "higher", unit="%")
LOSS = Metric("loss", "lower", "log")
BYTES = Metric("state_bytes", "lower", unit="bytes")
NOISE = np.random.default_rng(0).normal(0, 1, 10)


def side(metric: Metric, values: list[float], optimizer: str = "adam", workload: str = "digits") -> pd.DataFrame:
    """One optimizer's seeds; nan or infinity where it did not finish."""
    rows = [(workload, metric.name, optimizer, seed, np.isfinite(v), v) for seed, v in enumerate(values)]
    return pd.DataFrame(rows, columns=COLUMNS)


def row(metric: Metric, before: list[float], after: list[float], margins: Margins | None = None) -> dict[Any, Any]:
    pairs, metrics = [Pair("adam", "adam")], {"digits": [metric]}
    (found,) = compare(side(metric, before), side(metric, after), metrics, pairs, margins).to_dict("records")
    return found


def test_an_accuracy_is_compared_in_points() -> None:
    before, after = list(0.95 + 0.002 * NOISE), list(0.92 - 0.001 * NOISE)
    found = row(ACCURACY, before, after)
    differences = np.array(after) - np.array(before)
    assert (found["verdict"], found["note"], found["relative"], found["seeds"]) == ("worse", "", False, 10)
    assert found["difference"] == pytest.approx(differences.mean())
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.90)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert row(ACCURACY, after, before)["verdict"] == "better"
    assert row(ACCURACY, before, after, Margins(points=0.04))["verdict"] == "same"


def test_losses_and_steps_are_compared_as_ratios() -> None:
    before = list(np.exp(NOISE))
    for metric in (LOSS, STEPS):
        found = row(metric, before, list(np.exp(NOISE + 0.01 * NOISE[::-1]) * 1.5))
        assert (found["verdict"], found["relative"]) == ("worse", True)
        assert found["difference"] == pytest.approx(0.5, abs=0.01)
        assert found["low"] < found["difference"] < found["high"]
    assert row(LOSS, before, [1.09 * value for value in before])["verdict"] == "same"
    assert row(LOSS, before, [1.09 * value for value in before], Margins(relative=0.05))["verdict"] == "worse"
    assert row(LOSS, before, [value / 2 for value in before])["verdict"] == "better"


def test_a_metric_on_a_linear_scale_is_a_share_of_the_baselines_mean() -> None:
    found = row(BYTES, [100.0] * 5, [150.0] * 5)
    assert (found["verdict"], found["difference"], found["relative"]) == ("worse", pytest.approx(0.5), True)
    assert row(BYTES, [0.0] * 5, [1.0] * 5)["verdict"] == "worse"
    assert row(BYTES, [0.0] * 5, [0.0] * 5)["verdict"] == "same"


def test_what_diverges_where_the_baseline_finished_is_worse_however_good_the_rest_is() -> None:
    good, better = list(0.9 + 0.001 * NOISE), list(0.99 + 0.001 * NOISE[::-1])
    found = row(ACCURACY, good, [*better[:9], math.nan])
    assert (found["verdict"], found["lost"], found["gained"]) == ("worse", 1, 0)
    assert found["note"] == "diverged or failed at 1 seed where the baseline finished"
    assert found["difference"] > 0.05
    assert row(ACCURACY, [*good[:9], math.nan], good)["verdict"] == "better"
    assert row(ACCURACY, [*good[:9], math.nan], [math.nan, *good[1:]])["verdict"] == "same"
    assert row(ACCURACY, [*better[:9], math.nan], good)["verdict"] == "worse"
    assert row(ACCURACY, good, [math.nan] * 10)["verdict"] == "worse"
    assert row(ACCURACY, [math.nan] * 10, [math.nan] * 10)["verdict"] == "nothing compared"


def test_a_target_that_is_no_longer_reached_is_worse_and_once_is_chance() -> None:
    steps = list(np.exp(5 + 0.01 * NOISE))
    found = row(STEPS, steps, [math.inf] * 10)
    assert (found["verdict"], found["lost"], found["difference"]) == ("worse", 10, math.inf)
    assert math.isnan(found["candidate"])
    once = row(STEPS, steps, [math.inf, *steps[1:]])
    assert (once["verdict"], once["lost"]) == ("same", 1)
    assert "never reached the target at 1 seed where the baseline did" in once["note"]
    assert row(STEPS, [math.inf] * 10, steps)["verdict"] == "better"
    assert row(STEPS, [math.inf] * 10, [math.inf] * 10)["verdict"] == "nothing compared"


def test_few_seeds_are_said_to_be_few() -> None:
    assert row(ACCURACY, [0.9, 0.91, 0.9], [0.9, 0.9, 0.91])["note"] == "underpowered: 3 seeds"
    alone = row(ACCURACY, [0.9], [0.5])
    assert (alone["verdict"], alone["note"]) == ("nothing compared", "one seed tells nothing")
    assert row(ACCURACY, [0.9], [0.9])["verdict"] == "same"


def test_only_seeds_of_both_sides_are_paired() -> None:
    before, after = list(0.9 + 0.01 * NOISE), list(0.9 + 0.01 * NOISE)
    found = row(ACCURACY, before, after[:6])
    assert (found["seeds"], found["difference"]) == (6, 0.0)


def test_what_one_side_lacks_is_named_and_not_compared() -> None:
    before = pd.concat([side(ACCURACY, [0.9] * 5), side(ACCURACY, [0.9] * 5, "sgd")])
    pairs = [Pair("adam", "adam"), Pair("sgd", "sgd"), Pair("lion", "lion")]
    table = compare(before, side(ACCURACY, [0.8] * 5), {"digits": [ACCURACY]}, pairs)
    assert list(table["optimizer"]) == ["adam", "sgd"]
    assert list(table["verdict"]) == ["worse", "nothing compared"]
    assert table["note"].iloc[1] == "not in the candidate"
    kept = compare(before, before, {"digits": [ACCURACY]}, pairs, excluded={"digits": "another budget"})
    assert overall(kept) == "nothing compared"
    assert set(kept["note"]) == {"another budget"}


def test_the_worst_row_decides_then_the_best() -> None:
    def verdict(*verdicts: str) -> str:
        return overall(pd.DataFrame({"verdict": verdicts}))

    assert verdict("same", "better", "worse") == "worse"
    assert verdict("same", "nothing compared", "better") == "better"
    assert verdict("same", "nothing compared") == "same"
    assert verdict("nothing compared") == verdict() == "nothing compared"
