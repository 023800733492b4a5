"""Tests by re-randomisation against enumeration by hand and scipy."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from thalweg.scoring import rerandomised
from thalweg.scoring.rerandomised import evidence, lower_bound, paired, two_samples, upper_bound

Array = np.ndarray[Any, Any]


def p_of_signs(losses: list[float], shift: float) -> float:
    """The share of all sign vectors that make the sum of loss - shift at least as large, one by one."""
    left = [loss - shift for loss in losses]
    every = list(product((1, -1), repeat=len(left)))
    return sum(sum(s * x for s, x in zip(signs, left, strict=True)) >= sum(left) - 1e-12 for signs in every) / len(
        every
    )


@pytest.mark.parametrize("losses", [
    [0.03, 0.01, 0.02, 0.05, -0.01, 0.04],
    [1.0, 1.0, 0.0, 0.0, 2.0, -1.0, 1.0],  # ties
    [0.25] * 5,
])  # fmt: skip
@pytest.mark.parametrize("margin", [0.0, 0.01, 0.25, 1.0])
def test_p_values_are_shares_of_sign_vectors(losses: list[float], margin: float) -> None:
    found = evidence(paired(np.array(losses)), np.array([margin]))
    assert found.worse[0] == pytest.approx(p_of_signs(losses, margin))
    assert found.better[0] == pytest.approx(p_of_signs([-loss for loss in losses], margin))


def test_the_test_of_signs_is_scipys() -> None:
    losses = np.random.default_rng(0).normal(0.02, 0.02, 9)
    options: dict[str, Any] = {"permutation_type": "samples", "alternative": "greater", "n_resamples": math.inf}
    found = stats.permutation_test((losses - 0.01,), lambda x, axis: x.mean(axis), vectorized=True, **options)
    assert evidence(paired(losses), np.array([0.01])).worse[0] == pytest.approx(found.pvalue)


def test_two_samples_are_scipys() -> None:
    draw = np.random.default_rng(1)
    before, after = draw.normal(0.0, 1.0, 5), draw.normal(1.5, 1.0, 6)
    for margin in (0.0, 0.7, 3.0):
        options: dict[str, Any] = {"permutation_type": "independent", "alternative": "greater", "vectorized": True}
        found = stats.permutation_test(
            (after - margin, before), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=math.inf, **options
        )
        assert evidence(two_samples(before, after), np.array([margin])).worse[0] == pytest.approx(found.pvalue)


def test_a_bound_is_where_the_p_value_passes_the_level() -> None:
    draw = np.random.default_rng(2)
    for shifts in (paired(draw.normal(0.0, 1.0, 8))[0], two_samples(draw.normal(0, 1, 5), draw.normal(0, 1, 4))[0]):
        for level in (0.2, 0.05, 0.02):
            low, high = lower_bound(shifts, level), upper_bound(shifts, level)
            edges = np.array([low - 1e-6, low + 1e-6])
            below, above = (float(evidence(shifts[None], np.array([edge])).worse[0]) for edge in edges)
            assert below <= level < above
            edges = -np.array([high + 1e-6, high - 1e-6])
            below, above = (float(evidence(shifts[None], np.array([edge])).better[0]) for edge in edges)
            assert below <= level < above


def test_too_few_seeds_bound_nothing() -> None:
    shifts = paired(np.array([0.1, 0.2, 0.3, 0.4]))[0]
    assert lower_bound(shifts, 0.05) == -math.inf
    assert upper_bound(shifts, 0.05) == math.inf
    assert lower_bound(shifts, 1 / 16) == pytest.approx(0.1)


def test_infinite_losses_are_very_large_losses_of_equal_size() -> None:
    losses = [math.inf, 0.3, -math.inf, math.inf, 0.1, -0.2]
    large = [math.copysign(1e9, loss) if math.isinf(loss) else loss for loss in losses]
    for margin in (0.01, 0.05, 0.2):
        found, expected = (evidence(paired(np.array(x)), np.array([margin])) for x in (losses, large))
        assert np.array_equal(np.array(found), np.array(expected))
    before, after = np.array([0.113, 0.234, math.inf, 0.157]), np.array([math.inf, 0.31, math.inf])
    near = [np.where(np.isinf(x), 1e9, x) for x in (before, after)]
    for margin in (0.01, 0.05, 0.2):
        found, expected = (evidence(two_samples(*x), np.array([margin])) for x in ((before, after), near))
        assert np.array_equal(np.array(found), np.array(expected))


def test_many_seeds_are_judged_by_drawn_signs_which_agree_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = np.random.default_rng(3).normal(0.015, 0.02, (50, 15))
    every = evidence(paired(losses), np.full(50, 0.01))
    monkeypatch.setattr(rerandomised, "MOST", 2**13)
    rerandomised.subsets.cache_clear()
    drawn = evidence(paired(losses), np.full(50, 0.01))
    rerandomised.subsets.cache_clear()
    error = np.sqrt(every.worse * (1 - every.worse) / 2**13)
    assert np.all(np.abs(drawn.worse - every.worse) < 5 * error + 2 / 2**13)
    assert not np.array_equal(drawn.worse, every.worse)


def test_two_large_samples_are_judged_by_drawn_exchanges() -> None:
    draw = np.random.default_rng(4)
    before, after = draw.normal(0.0, 1.0, 30), draw.normal(0.8, 1.0, 25)
    found = float(evidence(two_samples(before, after), np.array([0.2])).worse[0])
    student = stats.ttest_ind(after - 0.2, before, alternative="greater").pvalue
    assert found == pytest.approx(student, abs=0.01)
