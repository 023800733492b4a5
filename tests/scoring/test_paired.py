"""Tests at paired seeds against independent references, and what they find in simulations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from thalweg.scoring.holm import holm_levels
from thalweg.scoring.paired import judge

Array = np.ndarray[Any, Any]
MARGIN = 0.01


def holm_by_the_book(p: list[float], alpha: float) -> list[bool]:
    """Holm 1979, hypothesis by hypothesis."""
    rejected = [False] * len(p)
    for k, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] > alpha / (len(p) - k):
            break
        rejected[i] = True
    return rejected


def test_holm_rejects_what_the_procedure_rejects_step_by_step() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for m in (1, 2, 5, 12):
        for _ in range(100):
            p = rng.beta(0.3, 3.0, m)
            expected = holm_by_the_book(list(p), 0.05)
            assert list(p <= holm_levels(p)) == expected
            seen.add(sum(expected))
    assert len(seen) > 8  # from none to most of them


def test_hypotheses_that_are_none_do_not_count() -> None:
    p = np.array([0.03, math.nan, 0.02, math.nan])
    assert holm_levels(p)[[0, 2]] == pytest.approx(holm_levels(p[[0, 2]]))
    assert holm_levels(p)[2] == pytest.approx(0.025)


def test_one_row_is_the_paired_t_test_of_scipy() -> None:
    rng = np.random.default_rng(1)
    for seeds in (3, 10):
        before, after = rng.normal(0.9, 0.01, (2, 200, seeds))
        found = judge((before - after + 0.02)[:, None, :], np.array([MARGIN]))
        test = stats.ttest_rel(before + 0.02 - MARGIN, after, axis=1, alternative="greater")
        assert np.array_equal(found.verdict[:, 0] == 1, test.pvalue <= 0.05)
        assert 20 < (test.pvalue <= 0.05).sum() < 180
        low = test.confidence_interval(0.95).low + MARGIN
        assert found.low[:, 0] == pytest.approx(low, rel=1e-9, abs=1e-12)


def test_a_bound_exceeds_the_margin_exactly_where_the_row_is_worse() -> None:
    losses = np.random.default_rng(2).normal(0.02, 0.02, (300, 7, 8))
    found = judge(losses, np.full(7, MARGIN))
    assert np.array_equal(found.low > MARGIN, found.verdict == 1)
    assert np.array_equal(found.high < -MARGIN, found.verdict == -1)
    assert 100 < (found.verdict == 1).sum() < 2000


@pytest.mark.parametrize(("losses", "verdict"), [
    ([math.inf] * 9 + [0.0], 1),  # P(Binomial(10, 1/2) >= 9) = 0.011
    ([math.inf] * 8 + [0.0] * 2, 0),  # 0.055
    ([math.inf] + [0.5] * 7 + [0.0] + [0.3], 1),  # finite losses above the margin count as well
    ([-math.inf] * 5, -1),
    ([math.inf, -math.inf] * 5, 0),
])  # fmt: skip
def test_seeds_that_never_reach_the_target_are_judged_by_the_sign_test(losses: list[float], verdict: int) -> None:
    found = judge(np.array([losses]), np.array([0.1]))
    assert found.verdict[0] == verdict
    above = sum(loss > 0.1 for loss in losses)
    p = stats.binomtest(above, len(losses), 0.5, alternative="greater").pvalue
    assert (p <= 0.05) == (verdict == 1) == (found.low[0] > 0.1)


def test_equal_differences_are_compared_as_they_are() -> None:
    none = math.nan
    rows = [[0.0] * 5, [0.01] * 5, [0.0101] * 5, [-0.02] * 2 + [none] * 3, [0.5] + [none] * 4, [0.0] + [none] * 4]
    found = judge(np.array(rows), np.full(6, MARGIN))
    assert np.array_equal(found.verdict, [0, 0, 1, -1, none, 0], equal_nan=True)
    assert list(found.low[:3]) == list(found.high[:3]) == pytest.approx([0.0, 0.01, 0.0101])


def test_rows_without_noise_cost_the_others_no_power() -> None:
    row = np.random.default_rng(3).normal(0.02, 0.01, (1, 10))
    alone = judge(row, np.array([MARGIN]))
    among = judge(np.vstack([row, np.zeros((30, 10)), np.full((30, 10), math.nan)]), np.full(61, MARGIN))
    assert among.low[0] == pytest.approx(alone.low[0])


def at_most(false: Array) -> float:
    """The upper end of the 95% Clopper-Pearson interval of a share."""
    interval = stats.binomtest(int(false.sum()), false.size).proportion_ci(0.95, "exact")
    return float(interval.high)


def accuracies(rng: np.random.Generator, repetitions: int, rows: int, seeds: int) -> Array:
    """Of a test split of 360 examples, with a deviation of one point over seeds."""
    return np.round(rng.normal(0.95, 0.01, (repetitions, rows, seeds)) * 360) / 360


@pytest.mark.parametrize("rows", [1, 2, 5, 20])
@pytest.mark.parametrize("seeds", [5, 10])
def test_identical_optimizers_are_rarely_called_worse(rows: int, seeds: int) -> None:
    rng = np.random.default_rng([rows, seeds])
    losses = accuracies(rng, 2000, rows, seeds) - accuracies(rng, 2000, rows, seeds)
    for margin in (MARGIN, 0.0):
        found = judge(losses, np.full(rows, margin)).verdict
        false = (found == 1).any(-1)
        assert false.mean() <= 0.05 + 0.01 * (margin == 0.0)  # without a margin it is 5% up to chance
        assert at_most(false) <= 0.065 + 0.01 * (margin == 0.0)
    assert false.mean() > 0.02  # without a margin the level is used up, so the test can fail


@pytest.mark.parametrize("rows", [1, 5])
def test_a_loss_of_just_the_margin_is_called_worse_in_five_percent(rows: int) -> None:
    rng = np.random.default_rng(rows)
    losses = rng.normal(MARGIN, 0.014, (20_000, rows, 10))
    false = (judge(losses, np.full(rows, MARGIN)).verdict == 1).any(-1)
    assert 0.045 < false.mean() < 0.055


@pytest.mark.parametrize("seeds", [5, 10])
def test_identical_optimizers_that_often_miss_the_target_are_rarely_called_worse(seeds: int) -> None:
    rng = np.random.default_rng(seeds)

    def steps() -> Array:
        """A whole number of epochs; three in ten never get there."""
        epochs = np.ceil(rng.lognormal(2.0, 0.4, (2000, 6, seeds)))
        return np.where(rng.random(epochs.shape) < 0.3, math.inf, np.log(epochs))

    before, after = steps(), steps()
    with np.errstate(invalid="ignore"):
        losses = after - before  # of two that never get there: nan
    false = (judge(losses, np.full(6, math.log(1.1))).verdict == 1).any(-1)
    assert false.mean() <= 0.05
    assert at_most(false) <= 0.065


def test_a_true_loss_of_three_points_is_found() -> None:
    rng = np.random.default_rng(0)
    losses = accuracies(rng, 2000, 1, 10) - accuracies(rng, 2000, 1, 10) + 0.03
    assert (judge(losses, np.array([MARGIN])).verdict == 1).mean() >= 0.8
