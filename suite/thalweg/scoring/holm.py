"""Holm's step-down test of several hypotheses at once."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def holm_levels(p: Array, alpha: float = 0.05) -> Array:
    """The levels (..., m) at which m hypotheses with p-values (..., m) are tested. A nan is no hypothesis.

    Order the p-values, p_(1) <= ... <= p_(m). Hypothesis k is rejected where p_(j) <= alpha / (m - j + 1) for all
    j <= k. So the level of hypothesis k is alpha / (m - k + 1), up to the first hypothesis that is not rejected; all
    later ones have the level of that hypothesis. Hence ``p <= holm_levels(p)`` are the rejections, and a one-sided
    confidence bound at the level excludes a hypothesis exactly where it is rejected. The probability of any false
    rejection is at most alpha, however the tests depend on each other.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.

    >>> holm_levels(np.array([0.2, 0.01, 0.03])).round(4).tolist()
    [0.025, 0.0167, 0.025]
    """
    p = np.asarray(p, dtype=float)
    m = np.isfinite(p).sum(-1, keepdims=True)
    order = np.argsort(p, axis=-1, kind="stable")  # nan come last
    ordered = np.take_along_axis(p, order, -1)
    place = np.arange(p.shape[-1])
    levels = alpha / np.maximum(m - place, 1)
    kept = ~(ordered <= levels)
    first = np.where(kept.any(-1, keepdims=True), kept.argmax(-1)[..., None], p.shape[-1])
    # a hypothesis after the first that is not rejected has the level of that one
    levels = np.take_along_axis(levels, np.minimum(place, np.minimum(first, np.maximum(m - 1, 0))), -1)
    found = np.empty_like(levels)
    np.put_along_axis(found, order, levels, -1)
    return found
