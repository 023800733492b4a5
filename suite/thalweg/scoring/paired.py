"""Tests and confidence bounds for differences at paired seeds, vectorised over rows and repetitions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import bdtrc, stdtr, stdtrit

from thalweg.scoring.holm import holm_levels

Array = np.ndarray[Any, Any]

ALPHA = 0.05
"""The probability that a comparison calls any row worse although no row is worse by more than its margin."""
MIN_SEEDS = 5
"""With fewer seeds only large differences are found."""


class Judged(NamedTuple):
    """Arrays with an entry for each row."""

    verdict: Array
    """1: worse, -1: better, 0: neither, nan: nothing to compare."""
    low: Array
    high: Array
    """One-sided bounds of the loss at the row's Holm level. Worse means low > margin, better means high < -margin."""


def judge(losses: Array, margins: Array, alpha: float = ALPHA) -> Judged:
    """The rows in which the candidate is worse, or better, by more than a margin.

    Args:
        losses: (..., rows, seeds), how much worse the candidate is at each seed: infinity where only the baseline
            finished, minus infinity where only the candidate finished, nan where neither did or one was not run.
        margins: (rows,) or (..., rows).
        alpha: the error rate of the worse rows as a family, and of the better rows as another family.

    A row with n finite losses and no infinite loss gets the one-sided paired t-test. With mean d and standard deviation
    s, it is worse where d - t_{1-a, n-1} s / sqrt(n) > margin (Student 1908). A row with infinite losses has no mean,
    so the sign test tests the median. Such a row is worse where the j-th smallest loss exceeds the margin, with j the
    largest number for which P(Binomial(n, 1/2) < j) <= a (Conover 1999, *Practical Nonparametric Statistics*, 3.2 and
    3.4). The level a of each row follows from Holm's procedure over the tested rows.

    A row of two or more equal losses is compared with the margin without a test, and so is a single loss of zero. A
    single loss that is not zero decides nothing.
    """
    losses = np.asarray(losses, dtype=float)
    margins = np.broadcast_to(np.asarray(margins, dtype=float), losses.shape[:-1])
    n = np.sum(~np.isnan(losses), -1)
    unending = np.isinf(losses).any(-1)
    finite = np.where(np.isfinite(losses), losses, np.nan)
    count = np.maximum(n, 1)
    mean = np.nansum(finite, -1) / count
    spread = np.sqrt(np.nansum((finite - mean[..., None]) ** 2, -1) / np.maximum(n - 1, 1))
    exact = ~unending & (n > 0) & (spread <= 1e-12 * np.maximum(np.abs(mean), 1e-300))
    nothing = (n == 0) | ((n == 1) & ~(exact & (mean == 0)))
    tested = ~exact & ~nothing
    # a sum of equal numbers may be off by a rounding error, which must not push it over an equal margin
    rounding = 1e-9 * margins

    def one_side(sign: float) -> tuple[Array, Array]:
        """The rejections of "sign times the loss is at most the margin", and lower bounds of sign times the loss."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (sign * mean - margins) / (spread / np.sqrt(count))
            p = np.where(unending, _sign_p(sign * losses, margins, n), stdtr(np.maximum(n - 1, 1), -t))
        p = np.where(tested, p, np.nan)
        level = holm_levels(p, alpha)
        with np.errstate(invalid="ignore"):
            student = sign * mean + stdtrit(np.maximum(n - 1, 1), level) * spread / np.sqrt(count)
        low = np.where(unending, _median_bound(sign * losses, n, level), student)
        low = np.where(exact, sign * mean, low)
        return np.where(exact, sign * mean > margins + rounding, tested & (p <= level)), np.where(nothing, np.nan, low)

    worse, low = one_side(1.0)
    better, high = one_side(-1.0)
    verdict = np.where(nothing, np.nan, worse.astype(float) - better.astype(float))
    return Judged(verdict, low, -high)


def _sign_p(losses: Array, margins: Array, n: Array) -> Array:
    """P(Binomial(n, 1/2) >= the number of losses above the margin)."""
    above = np.sum(losses > margins[..., None], -1)
    return np.where(above > 0, bdtrc(np.maximum(above - 1.0, 0.0), np.maximum(n, 1), 0.5), 1.0)


def _median_bound(losses: Array, n: Array, level: Array) -> Array:
    """The lower confidence bound of the median, which is an order statistic; minus infinity with too few losses."""
    ordered = np.sort(losses, -1)  # nan come last
    place = np.zeros(n.shape, dtype=int)
    for j in range(1, losses.shape[-1] + 1):
        below = 1.0 - bdtrc(float(j - 1), np.maximum(n, 1), 0.5)
        place = np.where((j <= n) & (below <= level), j, place)
    chosen = np.take_along_axis(ordered, np.maximum(place - 1, 0)[..., None], -1)[..., 0]
    return np.where(place > 0, chosen, -np.inf)
