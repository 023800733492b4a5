"""Verdicts from p-values, and how often simulated comparisons give them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from thalweg.scoring.holm import holm_levels
from thalweg.scoring.judge import BETTER, SAME, UNDECIDED, WORSE, evidence_of, judge

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


def test_a_row_is_worse_or_better_beyond_the_margin_same_within_and_else_undecided() -> None:
    spread = 0.001 * np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 0.5])
    rows = np.stack([spread + 0.05, spread - 0.05, spread, spread + 0.01, 30 * spread])
    assert judge(rows, np.full(5, MARGIN)).verdict[[0, 1, 2]].tolist() == [UNDECIDED, UNDECIDED, SAME]  # 1/64 > 0.05/5
    rows = np.concatenate([rows, rows], -1)
    assert judge(rows, np.full(5, MARGIN)).verdict.tolist() == [WORSE, BETTER, SAME, UNDECIDED, UNDECIDED]


def test_seeds_that_one_side_alone_finishes_are_infinite_losses() -> None:
    none = math.nan
    rows = np.array([
        [math.inf] * 5 + [0.0] * 5,  # 2^5 / 2^10 sign vectors are as extreme
        [math.inf] * 4 + [0.0] * 6,
        [-math.inf] * 10,
        [math.inf, -math.inf] * 5,
        [none] * 10,
    ])  # fmt: skip
    found = [float(judge(row[None], np.array([0.1])).verdict[0]) for row in rows]
    assert found[:4] == [WORSE, UNDECIDED, BETTER, UNDECIDED]
    assert math.isnan(found[4])


@pytest.mark.parametrize(
    ("seeds", "rows", "verdict"), [(4, 1, UNDECIDED), (5, 1, WORSE), (5, 2, UNDECIDED), (6, 3, WORSE)]
)
def test_equal_differences_are_tested_like_others(seeds: int, rows: int, verdict: int) -> None:
    """Two seeds with equal steps once were certain. Now even rows without noise take log2(rows / alpha) seeds."""
    losses = np.full((rows, seeds), 0.5)
    assert set(judge(losses, np.full(rows, MARGIN)).verdict) == {verdict}


def test_a_difference_of_the_margin_is_the_same_and_not_worse() -> None:
    losses = np.full((1, 6), math.log(110 / 100))
    assert judge(losses, np.array([math.log1p(0.10)])).verdict[0] == SAME


def test_rows_that_are_equal_to_the_bit_cost_the_others_no_power() -> None:
    row = np.random.default_rng(3).normal(0.02, 0.01, (1, 10))
    alone = judge(row, np.array([MARGIN]))
    losses = np.vstack([row, np.zeros((30, 10)), np.full((30, 10), math.nan)])
    among = judge(losses, np.full(61, MARGIN), np.array([False] + [True] * 30 + [False] * 30))
    assert among.worse_level[0] == alone.worse_level[0]
    assert set(among.verdict[1:31]) == {SAME}
    assert np.isnan(among.verdict[31:]).all()


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
        false = (found == WORSE).any(-1)
        assert false.mean() <= 0.05 + 0.01 * (margin == 0.0)  # without a margin it is 5% up to chance
        assert at_most(false) <= 0.065 + 0.01 * (margin == 0.0)
    if 2**-seeds <= 0.05 / rows:
        assert false.mean() > 0.01  # without a margin the level is used up, so the test can fail


@pytest.mark.parametrize("rows", [1, 5])
def test_a_loss_of_just_the_margin_is_called_worse_in_five_percent(rows: int) -> None:
    rng = np.random.default_rng(rows)
    losses = rng.normal(MARGIN, 0.014, (10_000, rows, 10))
    false = (judge(losses, np.full(rows, MARGIN)).verdict == WORSE).any(-1)
    assert 0.04 < false.mean() < 0.055
    # that the loss is below the margin is claimed as rarely
    within = evidence_of(losses, np.full(rows, MARGIN)).below[:, 0] <= 0.05
    assert 0.04 < within.mean() < 0.055


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
    false = (judge(losses, np.full(6, math.log(1.1))).verdict == WORSE).any(-1)
    assert false.mean() <= 0.05
    assert at_most(false) <= 0.065


def test_a_true_loss_of_three_points_is_found() -> None:
    rng = np.random.default_rng(0)
    losses = accuracies(rng, 2000, 1, 10) - accuracies(rng, 2000, 1, 10) + 0.03
    assert (judge(losses, np.array([MARGIN])).verdict == WORSE).mean() >= 0.8


@pytest.mark.parametrize("rows", [1, 4, 20])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_no_ops_between_two_adjacent_evaluations_are_rarely_called_worse(rows: int, seeds: int) -> None:
    """Equal differences once were certain: 2 seeds called such a no-op worse in 6, 24 and 73% with 1, 4 and 20 rows."""
    draw = np.random.default_rng([rows, seeds])
    steps = np.log(draw.integers(4, 6, (2, 2000, rows, seeds)))
    false = (judge(steps[0] - steps[1], np.full(rows, math.log(1.1))).verdict == WORSE).any(-1)
    assert false.mean() <= 0.05
    assert at_most(false) <= 0.065


def test_a_twofold_margin_is_rarely_called_the_same() -> None:
    draw = np.random.default_rng(5)
    for seeds in (5, 10, 20):
        losses = accuracies(draw, 1000, 1, seeds) - accuracies(draw, 1000, 1, seeds) + 2 * MARGIN
        assert (judge(losses, np.array([MARGIN])).verdict == SAME).mean() <= 0.05
