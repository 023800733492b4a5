"""How much the choice of a setting adds to the uncertainty of a tuned optimizer."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

RESAMPLES = 2000
"""The most resamples of the tuning seeds."""


def resamples(seeds: int) -> Array:
    """Resamples of the tuning seeds with replacement, as (resamples, seeds) numbers: all, or 2,000 at random."""
    if seeds**seeds <= RESAMPLES:
        return np.array(list(product(range(seeds), repeat=seeds)))
    return np.random.default_rng(seeds).integers(0, seeds, (RESAMPLES, seeds))


def choice_variance(scores: Array, losses: Array | None = None) -> float:
    """The variance that the choice among settings adds, from their scores (settings, seeds), the larger the better.

    The choice is repeated over resamples of the tuning seeds. With v_s the mean score of setting s, c the setting that
    was chosen, and c_r the choice of resample r, the variance is the mean of (v_{c_r} - v_c)^2 over r. It is 0 with one
    tuning seed, which tells nothing of the noise.

    Args:
        scores: of the settings whose trials all ended.
        losses: equally shaped; of equal scores the setting with the lower loss is chosen, then the first.

    >>> round(choice_variance(np.array([[0.9, 0.7], [0.8, 0.9]])), 6)  # one of four resamples prefers the first setting
    0.000625
    """
    chosen = resamples(scores.shape[-1])
    means = scores[:, chosen].mean(-1)
    ties = np.zeros_like(means) if losses is None else losses[:, chosen].mean(-1)
    best = means == means.max(0)
    picked = np.where(best, ties, np.inf).argmin(0)
    values = scores.mean(-1)
    whole = values == values.max()
    own = int(np.where(whole, 0.0 if losses is None else losses.mean(-1), np.inf).argmin())
    return float(((values[picked] - values[own]) ** 2).mean())
