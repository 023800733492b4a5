"""How much the choice of a setting adds to the uncertainty of a tuned optimizer."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from thalweg.plan import Choice

Array = np.ndarray[Any, Any]

RESAMPLES = 2000
"""The most resamples of the tuning seeds."""


def resamples(seeds: int) -> Array:
    """Resamples of the tuning seeds with replacement, as (resamples, seeds) numbers: all, or 2,000 at random."""
    if seeds**seeds <= RESAMPLES:
        return np.array(list(product(range(seeds), repeat=seeds)))
    return np.random.default_rng(seeds).integers(0, seeds, (RESAMPLES, seeds))


def choice_of(scores: Array, losses: Array | None = None) -> Choice:
    """What the choice among settings adds, from their scores (settings, seeds), the larger the better.

    The choice is repeated over resamples of the tuning seeds. With v_s the mean score of setting s, c the setting that
    was chosen, and c_r the choice of resample r, the variance is the mean of (v_{c_r} - v_c)^2 over r. It is 0 with one
    tuning seed, which tells nothing of the noise. On logarithms, log |v_s| takes the place of v_s.

    Args:
        scores: of the settings whose trials all ended. Where lower is better, minus the values.
        losses: equally shaped; of equal scores the setting with the lower loss is chosen, then the first.

    >>> round(choice_of(np.array([[0.9, 0.7], [0.8, 0.9]])).linear, 6)  # one of four prefers the first
    0.000625
    """
    if not scores.size:
        return Choice()
    drawn = resamples(scores.shape[-1])
    ties = np.zeros_like(scores) if losses is None else losses
    picked = _best(scores[:, drawn].mean(-1), ties[:, drawn].mean(-1))
    values = scores.mean(-1)
    own = int(_best(values, ties.mean(-1)))

    def variance(of: Array) -> float:
        return float(((of[picked] - of[own]) ** 2).mean())

    size = np.abs(values)
    return Choice(variance(values), variance(np.log(size)) if (size > 0).all() else 0.0)


def _best(scores: Array, losses: Array) -> Array:
    """The place of the largest score along the first axis. The lowest loss decides between equal scores."""
    return np.asarray(np.where(scores == scores.max(0), losses, np.inf).argmin(0))
