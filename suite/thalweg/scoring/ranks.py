"""Simultaneous rank intervals: all ranks of a table hold at once with a probability of 95%.

A rank interval counts pairs. Its low end is one more than the number of optimizers that are certainly better, and its
high end leaves room for all that are not certainly worse. Every claim "certainly better" is a one-sided test, and
Holm's procedure over all ordered pairs bounds the probability of any false claim in a table (Mogstad, Romano, Shaikh &
Wilhelm 2024; Al Mohamad, Goeman & van Zwet 2022). ``docs/coverage.py`` simulates this probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln, stdtr

from thalweg.scoring.holm import holm_levels

Array = np.ndarray[Any, Any]

ALPHA = 0.05
"""The largest probability that a table calls any optimizer certainly better that is not better."""


class Sample(NamedTuple):
    """The outcomes of one optimizer's seeds, of which smaller is better."""

    values: Array
    """The values of the seeds that have one, on the scale on which they are averaged."""
    lost: int = 0
    """Seeds without a value, because they diverged, failed or never reached the target."""
    resolution: float = 0.0
    """The difference between neighbouring values that the measurement can tell apart; 0 if it is fine."""
    added: float = 0.0
    """A variance of the mean that the values do not show, such as the variance from the choice of a setting."""


def certain(samples: Sequence[Sample], alpha: float = ALPHA) -> Array:
    """Whether optimizer i is certainly better than optimizer j, as a matrix (i, j).

    Where both have a value for every seed, Welch's test compares the means (``p_of_means``). Where one of them lost a
    seed, i is better if Fisher's exact test says that i loses fewer (``p_of_lost``), or if the means of the remaining
    seeds differ and i lost no larger share; then each of the two tests has half the level.
    """
    mean, spread, n = _moments(samples)
    lost = np.array([sample.lost for sample in samples], dtype=float)
    by_mean = p_of_means(mean, spread, n)
    if lost.any():
        share = lost / np.maximum(n + lost, 1)
        by_mean = np.where(share[:, None] <= share, by_mean, 1.0)
        either = np.minimum(1.0, 2 * np.minimum(by_mean, p_of_lost(lost, n + lost)))
        by_mean = np.where((lost[:, None] + lost) > 0, either, by_mean)
    return rejected(by_mean, alpha)


def rejected(p: Array, alpha: float = ALPHA) -> Array:
    """The ordered pairs that Holm's procedure finds among the p-values (..., i, j); the diagonal is left out."""
    pairs = p.reshape(*p.shape[:-2], -1).copy()
    if not pairs.shape[-1]:
        return np.zeros(p.shape, dtype=bool)
    pairs[..., :: p.shape[-1] + 1] = np.nan
    with np.errstate(invalid="ignore"):
        return np.asarray(pairs <= holm_levels(pairs, alpha)).reshape(p.shape)


def rank_intervals(better: Array) -> tuple[Array, Array]:
    """The lowest and the highest rank of each optimizer that the pairs ``better`` (i, j) leave open.

    >>> [ends.tolist() for ends in rank_intervals(np.array([[False, False, True], [False] * 3, [False] * 3]))]
    [[1, 1, 2], [2, 3, 3]]
    """
    return 1 + better.sum(0), len(better) - better.sum(1)


def p_of_means(mean: Array, spread: Array, n: Array) -> Array:
    """P-values (..., i, j) of Welch's one-sided test of "mean i is not smaller than mean j" (Welch 1947).

    The statistic (mean_j - mean_i) / sqrt(s_i^2 / n_i + s_j^2 / n_j) is compared with Student's t, whose degrees of
    freedom follow from the two variances, so spreads may differ from optimizer to optimizer. The test takes the seeds
    of two optimizers for independent. Shared seeds that make both better or worse together make it more careful. A mean
    of fewer than two values is not tested: p is 1.

    Args:
        mean: (..., k) means of k optimizers.
        spread: (..., k) standard deviations over seeds.
        n: (..., k) or (k,) numbers of seeds.
    """
    variance = np.where(n > 1, spread**2 / np.maximum(n, 1), np.nan)
    each = variance**2 / np.maximum(n - 1, 1)
    both = variance[..., :, None] + variance[..., None, :]
    difference = mean[..., None, :] - mean[..., :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(both**2 / (each[..., :, None] + each[..., None, :]), -difference / np.sqrt(both))
    # neither varies: the difference is exact
    p = np.where(both == 0, np.where(difference > 0, 0.0, 1.0), p)
    return np.where(np.isnan(p), 1.0, p)


def p_of_lost(lost: Array, n: Array) -> Array:
    """P-values (i, j) of Fisher's exact one-sided test of "i loses no smaller share of its n seeds than j".

    Given how many seeds the pair lost together, the number that j lost is hypergeometric if the shares are equal. The p
    is its probability to be as large as it is, or larger.
    """
    groups, which = np.unique(np.stack([lost, n], -1), axis=0, return_inverse=True)
    which = which.reshape(-1)
    found = np.array([[_fisher(*map(int, (*a, *b))) for b in groups] for a in groups])
    return found[which[:, None], which]


def _fisher(lost_i: int, n_i: int, lost_j: int, n_j: int) -> float:
    """P(X >= lost_j) for X the number of marked among n_j of n_i + n_j, of which lost_i + lost_j are marked."""
    total = lost_i + lost_j
    x = np.arange(lost_j, min(total, n_j) + 1)
    log = _log_choose(n_j, x) + _log_choose(n_i, total - x) - _log_choose(n_i + n_j, total)
    return min(1.0, float(np.exp(log).sum()))


def _log_choose(n: Any, k: Any) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _moments(samples: Sequence[Sample]) -> tuple[Array, Array, Array]:
    """Means, standard deviations and numbers of values.

    Few seeds may agree by chance on a coarse scale. So a standard deviation counts as half the resolution at least,
    which is the standard deviation of two neighbouring values that are equally likely.
    """
    n = np.array([len(sample.values) for sample in samples], dtype=float)
    mean, spread = np.full(len(samples), math.nan), np.full(len(samples), math.nan)
    for place, sample in enumerate(samples):
        if len(sample.values) > 1 and np.isfinite(sample.values).all():
            mean[place] = sample.values.mean()
            shown = max(float(sample.values.std(ddof=1)), sample.resolution / 2)
            spread[place] = math.hypot(shown, math.sqrt(n[place] * sample.added))
    return mean, spread, np.where(np.isnan(mean), 0.0, n)


def finest(values: Array) -> float:
    """The smallest difference between two different values; 0 where all are equal."""
    gaps = np.diff(np.unique(values[np.isfinite(values)]))
    return float(gaps.min(initial=math.inf)) if len(gaps) else 0.0
