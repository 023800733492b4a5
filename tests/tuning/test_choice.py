"""What the choice of a setting adds to an interval, and how often the interval covers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import stdtrit

from thalweg.tuning.choice import choice_of, resamples


def test_the_choice_is_repeated_over_every_resample() -> None:
    scores = np.random.default_rng(0).normal(0.9, 0.02, (5, 3))
    means = scores.mean(-1)
    picked = [scores[:, list(seeds)].mean(-1).argmax() for seeds in product(range(3), repeat=3)]
    expected = np.mean([(means[one] - means.max()) ** 2 for one in picked])
    assert choice_of(scores).linear == pytest.approx(expected)
    logs = np.log(means)
    assert choice_of(scores).log == pytest.approx(np.mean([(logs[one] - logs[means.argmax()]) ** 2 for one in picked]))
    assert len(resamples(3)) == 27
    assert len(resamples(6)) == 2000


def test_one_tuning_seed_tells_nothing_and_a_clear_winner_adds_nothing() -> None:
    assert choice_of(np.array([[0.9], [0.5]])) == (0.0, 0.0)
    assert choice_of(np.array([[0.9, 0.91, 0.9], [0.5, 0.4, 0.45]])) == (0.0, 0.0)


def test_equal_scores_are_told_apart_by_the_loss() -> None:
    scores = np.array([[0.9, 0.9, 0.8], [0.9, 0.9, 0.8], [0.7, 0.9, 0.6]])
    losses = np.array([[0.3, 0.3, 0.3], [0.2, 0.2, 0.2], [0.1, 0.1, 0.1]])
    assert choice_of(scores, losses).linear > 0.0  # the third wins where only the second seed is drawn


@pytest.mark.parametrize(("seeds", "with_choice", "least"), [(3, True, 0.92), (5, True, 0.95), (3, False, 0.0)])
def test_an_interval_with_the_choice_covers_what_tuning_gives_on_average(
    seeds: int, with_choice: bool, least: float
) -> None:
    """Eight settings, whose true values differ by as little as the noise of a tuning seed; five fresh seeds."""
    draw = np.random.default_rng(seeds)
    true = 0.97 - 0.01 * np.linspace(-1.5, 1.5, 8) ** 2
    many = true[:, None, None] + draw.normal(0.0, 0.02, (8, 20_000, seeds))
    target = true[many.mean(-1).argmax(0)].mean()
    covered = 0
    for _ in range(500):
        scores = true[:, None] + draw.normal(0.0, 0.02, (8, seeds))
        final = true[scores.mean(-1).argmax()] + draw.normal(0.0, 0.005, 5)
        added = choice_of(scores).linear if with_choice else 0.0
        half = stdtrit(4, 0.975) * np.sqrt(final.var(ddof=1) / 5 + added)
        covered += abs(final.mean() - target) <= half
    assert covered / 500 >= least
    if not with_choice:
        assert covered / 500 < 0.85  # which is why the choice is added
