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


def t_interval(values: Sequence[float], log: bool = False, level: float = 0.95) -> Estimate:
    """Mean and t-interval: mean +- t_{(1 + level)/2, n-1} s / sqrt(n).

    With ``log`` and positive values all of it is done on logarithms: then the value is the geometric mean. Not finite
    values are the caller's to leave out; none at all gives nan.

    >>> [round(x, 3) for x in t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    log = log and bool((x > 0).all())
    if log:
        x = np.log(x)
    mean = float(x.mean())
    if x.size == 1:
        low = high = math.nan
    else:
        half = float(stdtrit(x.size - 1, (1 + level) / 2)) * float(x.std(ddof=1)) / math.sqrt(x.size)
        low, high = mean - half, mean + half
    if log:
        with np.errstate(over="ignore"):  # an interval over many decades may end at infinity
            return Estimate(*(float(np.exp(v)) for v in (mean, low, high)))
    return Estimate(mean, low, high)
