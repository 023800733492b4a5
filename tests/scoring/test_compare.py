"""Verdicts on tables of outcomes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thalweg.contracts import Metric
from thalweg.scoring.compare import Pair, Terms, compare, overall
from thalweg.scoring.margins import Margins
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


def row(metric: Metric, before: list[float], after: list[float], terms: Terms | None = None) -> dict[Any, Any]:
    pairs, metrics = [Pair("adam", "adam")], {"digits": [metric]}
    (found,) = compare(side(metric, before), side(metric, after), metrics, pairs, terms).to_dict("records")
    return found


def relative(share: float) -> Terms:
    return Terms(Margins(relative=share))


def test_an_accuracy_is_compared_in_points() -> None:
    before, after = list(0.95 + 0.002 * NOISE), list(0.92 - 0.001 * NOISE)
    found = row(ACCURACY, before, after)
    differences = np.array(after) - np.array(before)
    assert (found["verdict"], found["note"], found["relative"], found["seeds"]) == ("worse", "", False, 10)
    assert found["difference"] == pytest.approx(differences.mean())
    assert found["low"] < differences.mean() < found["high"] < -0.01
    assert row(ACCURACY, after, before)["verdict"] == "better"
    assert row(ACCURACY, before, after, Terms(Margins(points=0.04, error=math.inf)))["verdict"] == "same"


def test_ten_times_the_errors_are_worse_though_they_are_less_than_a_point() -> None:
    before, after = list(0.999 + 0.0001 * NOISE), list(0.989 + 0.0001 * NOISE)
    found = row(ACCURACY, before, after, Terms(examples={("digits", "accuracy"): 10_000}))
    assert (found["verdict"], found["margin"]) == ("worse", pytest.approx(0.0005, rel=0.1))
    assert row(ACCURACY, before, after, Terms(Margins(points=0.011, error=math.inf)))["verdict"] == "same"
    coarse = row(ACCURACY, before, after, Terms(examples={("digits", "accuracy"): 360}))
    assert coarse["margin"] == pytest.approx(2 / 360)


def test_losses_and_steps_are_compared_as_ratios() -> None:
    before = list(np.exp(1 + NOISE))
    for metric in (LOSS, STEPS):
        found = row(metric, before, list(np.exp(1 + NOISE + 0.01 * NOISE[::-1]) * 1.5))
        assert (found["verdict"], found["relative"]) == ("worse", True)
        assert found["difference"] == pytest.approx(0.5, abs=0.05)
        assert found["low"] < found["difference"] < found["high"]
    assert row(LOSS, before, [1.09 * value for value in before])["verdict"] == "same"
    assert row(LOSS, before, [1.1 * value for value in before])["verdict"] == "same"
    assert row(LOSS, before, [1.09 * value for value in before], relative(0.05))["verdict"] == "worse"
    assert row(LOSS, before, [value / 2 for value in before])["verdict"] == "better"


def test_a_metric_on_a_linear_scale_is_a_share_of_the_baselines_mean() -> None:
    found = row(BYTES, [100.0] * 5, [150.0] * 5)
    assert (found["verdict"], found["difference"], found["relative"]) == ("worse", pytest.approx(0.5), True)
    nothing = row(BYTES, [0.0] * 5, [1.0] * 5)
    assert (nothing["verdict"], nothing["difference"], nothing["relative"]) == ("worse", 1.0, False)
    assert nothing["note"] == "the baseline's mean is 0: every difference is beyond the margin"
    # memory does not depend on the seed
    assert row(BYTES, [100.0] * 2, [100.0] * 2)["verdict"] == "same"
    assert row(BYTES, [0.0] * 5, [0.0] * 5)["verdict"] == "same"


def test_what_is_not_shown_is_undecided_and_says_what_would_decide() -> None:
    """An optimizer that never trains on 4 of 10 seeds once was "the same": its variance drowned the t-test."""
    before = [0.974] * 10
    found = row(ACCURACY, before, [0.974, 0.1] * 4 + [0.974] * 2, Terms(easiest={("digits", "accuracy"): 0.6}))
    assert (found["verdict"], found["collapsed"], found["lost"]) == ("undecided", 4, 0)
    assert "collapsed at 4 seeds" in found["note"]
    assert found["loss_at_most"] < -0.5
    assert found["smallest_p"] == 2**-10
    assert math.isnan(found["more_seeds"])  # with a collapse more seeds never make it the same
    steps = row(STEPS, [100.0] * 10, [100.0, math.inf] * 4 + [100.0] * 2)
    assert (steps["verdict"], steps["lost"], steps["loss_at_most"]) == ("undecided", 4, math.inf)


def test_a_target_missed_at_every_seed_is_worse_with_five_seeds_or_says_that_they_are_too_few() -> None:
    alone = row(STEPS, [100.0] * 5, [math.inf] * 5)
    assert (alone["verdict"], alone["smallest_p"]) == ("worse", 1 / 32)
    metrics = {"digits": [STEPS], "text": [STEPS]}
    sides = [
        pd.concat([side(STEPS, values, workload=name) for name in metrics]) for values in ([100.0] * 5, [math.inf] * 5)
    ]
    table = compare(*sides, metrics, [Pair("adam", "adam")])
    assert set(table["verdict"]) == {"undecided"}
    assert set(table["tested_at"]) == {0.025}
    assert set(table["more_seeds"]) == {1}


def test_a_collapse_that_only_the_candidate_has_is_never_the_same() -> None:
    level = Terms(Margins(points=1.0, error=math.inf), easiest={("digits", "accuracy"): 0.6})
    before, after = [0.9] * 10, [0.9] * 9 + [0.1]
    assert row(ACCURACY, before, after, level)["verdict"] == "undecided"
    assert row(ACCURACY, after, before, level)["verdict"] == "same"
    assert row(ACCURACY, after, after, level)["collapsed"] == 0


def test_one_exact_zero_leaves_the_scale_as_it_is() -> None:
    """It once turned logarithms into shares of the mean, which made a thousandfold loss the same."""
    before = list(np.exp(NOISE))
    after = [1000 * value for value in before]
    found = row(LOSS, before, [*after[:9], 0.0])
    assert found["verdict"] == "undecided"
    whole = row(LOSS, [0.0, *before[1:]], after)
    assert (whole["verdict"], whole["relative"]) == ("worse", True)
    assert row(LOSS, [0.0] * 6, [0.0] * 6)["verdict"] == "same"


def test_seeds_that_diverge_are_evidence_like_others() -> None:
    good, better = list(0.9 + 0.001 * NOISE), list(0.99 + 0.001 * NOISE[::-1])
    found = row(ACCURACY, good, [*better[:9], math.nan])
    assert (found["verdict"], found["lost"], found["gained"]) == ("undecided", 1, 0)
    assert found["note"] == "diverged or failed at 1 seed where the baseline finished"
    assert row(ACCURACY, good, [*[math.nan] * 5, *good[5:]])["verdict"] == "worse"
    assert row(ACCURACY, [*[math.nan] * 5, *good[5:]], good)["verdict"] == "better"
    both = row(ACCURACY, [*good[:9], math.nan], [*good[:9], math.nan])
    assert (both["verdict"], both["note"]) == ("same", "both diverged or failed at 1 seed")
    assert row(ACCURACY, good, [math.nan] * 10)["verdict"] == "worse"
    assert row(ACCURACY, [math.nan] * 10, [math.nan] * 10)["verdict"] == "nothing compared"
    numberless = side(ACCURACY, [*good[:9], math.nan]).assign(finished=True)
    found = compare(side(ACCURACY, good), numberless, {"digits": [ACCURACY]}, [Pair("adam", "adam")])
    assert found["note"].item() == "diverged, failed or had no number at 1 seed where the baseline finished"


def test_a_target_that_is_no_longer_reached_is_worse_and_once_decides_nothing() -> None:
    steps = list(np.exp(5 + 0.01 * NOISE))
    found = row(STEPS, steps, [math.inf] * 10)
    assert (found["verdict"], found["lost"], found["difference"]) == ("worse", 10, math.inf)
    assert math.isnan(found["candidate"])
    once = row(STEPS, steps, [math.inf, *steps[1:]])
    assert (once["verdict"], once["lost"]) == ("undecided", 1)
    assert "never reached the target at 1 seed where the baseline did" in once["note"]
    assert row(STEPS, [math.inf] * 10, steps)["verdict"] == "better"
    assert row(STEPS, [math.inf] * 10, [math.inf] * 10)["verdict"] == "nothing compared"


def test_one_seed_decides_nothing_unless_it_is_equal_to_the_bit() -> None:
    alone = row(ACCURACY, [0.9], [0.5])
    assert (alone["verdict"], alone["more_seeds"]) == ("undecided", 4)
    assert row(ACCURACY, [0.9], [0.9])["verdict"] == "undecided"
    equal = row(ACCURACY, [0.9], [0.9], Terms(equal=[("digits", Pair("adam", "adam"))]))
    assert (equal["verdict"], equal["equal"], equal["low"], equal["high"]) == ("same", True, 0.0, 0.0)


def test_independent_samples_are_compared_without_pairs() -> None:
    terms = Terms(paired=False)
    before, after = list(0.95 + 0.002 * NOISE), list(0.92 - 0.002 * NOISE[:6])
    found = row(ACCURACY, before, after, terms)
    assert (found["verdict"], found["seeds"]) == ("worse", 6)
    assert found["difference"] == pytest.approx(np.mean(after) - np.mean(before))
    assert row(ACCURACY, before, list(0.95 + 0.002 * NOISE[::-1]), terms)["verdict"] == "same"
    undecided = row(ACCURACY, before[:2], list(0.95 + 0.004 * NOISE[3:5]), terms)
    assert (undecided["verdict"], undecided["more_seeds"] >= 1) == ("undecided", True)
    elsewhere = side(ACCURACY, after).assign(seed=lambda table: table["seed"] + 100)
    pairs, metrics = [Pair("adam", "adam")], {"digits": [ACCURACY]}
    assert compare(side(ACCURACY, before), elsewhere, metrics, pairs, terms)["verdict"].tolist() == ["worse"]
    none = compare(side(ACCURACY, before), elsewhere, metrics, pairs)
    assert none["note"].tolist() == ["no seed in common: --unpaired compares two independent samples"]


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
    kept = compare(
        before,
        before,
        {"digits": [ACCURACY]},
        pairs,
        Terms(excluded={("digits", pair): "another budget" for pair in pairs}),
    )
    assert overall(kept["verdict"]) == "nothing compared"
    assert set(kept["note"]) == {"another budget"}


def test_the_worst_row_decides_then_what_is_undecided_then_the_best() -> None:
    def verdict(*verdicts: str) -> str:
        return overall(verdicts)

    assert verdict("same", "better", "undecided", "worse") == "worse"
    assert verdict("same", "better", "undecided") == "undecided"
    assert verdict("same", "nothing compared", "better") == "better"
    assert verdict("same", "nothing compared") == "same"
    assert verdict("nothing compared") == verdict() == "nothing compared"
