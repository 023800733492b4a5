"""About how many more seeds an undecided row needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtri

Array = np.ndarray[Any, Any]

POWER = 0.8
"""The probability with which the seeds should decide, if the losses go on as they are."""
MOST = 1000
"""Numbers above are not told: the row is too close to its margin."""


def more_seeds(losses: Array, margin: float, level: float, alpha: float) -> int | None:
    """About how many further seeds decide a row, if further losses are like these; None where nobody can say.

    With a mean d and standard deviation s over n seeds, about ((z_{1-a} + z_{0.8}) s / g)^2 seeds decide the row. g is
    the distance from d to the nearest margin. The level a is ``level`` where d lies beyond a margin, and ``alpha``
    inside. A level a takes at least log2(1 / a) seeds, since turning signs gives p-values of 2^-n or more. Of losses
    among which k more are infinitely large than infinitely small, or the reverse, about n log2(1 / a) / k seeds decide.
    """
    values = losses[~np.isnan(losses)]
    n = len(values)
    if n == 0 or min(level, alpha) <= 0:
        return None
    infinite = int(np.sign(values[np.isinf(values)]).sum())
    if np.isinf(values).any():
        needed = math.log2(1 / level) * n / abs(infinite) if infinite else math.inf
        return _further(needed, n)
    if n == 1:
        return _further(math.log2(1 / level), n)
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    gap = abs(abs(mean) - margin)
    used = alpha if abs(mean) <= margin else level
    noise = (-float(ndtri(used)) + float(ndtri(POWER))) * deviation
    needed = math.inf if gap == 0 and noise > 0 else (noise / gap) ** 2 if gap else 0.0
    return _further(max(needed, math.log2(1 / used)), n)


def _further(needed: float, n: int) -> int | None:
    return max(1, math.ceil(needed - 1e-9) - n) if needed <= MOST + n else None
