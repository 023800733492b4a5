"""Means with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Estimate(NamedTuple):
    """A mean with a confidence interval; ``low`` and ``high`` are nan for a single value."""

    value: float
    low: float
    high: float


FLOOR = 1e-45
"""The smallest number on a log scale; smaller numbers count as this one.

It is about the smallest number in float32. A loss that becomes 0 has passed it.
"""


def t_interval(
    values: Sequence[float], log: bool = False, level: float = 0.95, floor: float = FLOOR, added: float = 0.0
) -> Estimate:
    """Mean and t-interval: mean +- t_{(1 + level)/2, n-1} sqrt(s^2 / n + added).

    ``added`` is a variance of the mean that its values do not show, such as the variance from the choice of a setting.

    With ``log`` the computation is on logarithms. Then the value is the geometric mean, and a number below ``floor``
    counts as ``floor``. The result is nan without values, or if a value is not finite.

    Raises:
        ValueError: a value is below zero, and ``log`` is asked for.

    >>> [round(x, 3) for x in t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    if not np.isfinite(x).all():
        return Estimate(math.nan, math.nan, math.nan)
    if log and (x < 0).any():
        raise ValueError(f"{x.min():g} is below zero and has no logarithm: use a linear scale")
    if log:
        x = np.log(np.maximum(x, floor))
    mean = float(x.mean())
    if x.size == 1:
        low = high = math.nan
    else:
        half = float(stdtrit(x.size - 1, (1 + level) / 2)) * math.sqrt(float(x.var(ddof=1)) / x.size + added)
        low, high = mean - half, mean + half
    if log:
        with np.errstate(over="ignore"):  # an interval over many decades may end at infinity
            return Estimate(*(float(np.exp(v)) for v in (mean, low, high)))
    return Estimate(mean, low, high)
