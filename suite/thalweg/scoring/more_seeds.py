"""About how many more seeds an undecided row needs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

Array = np.ndarray[Any, Any]

POWER = 0.8
"""The probability with which the seeds should decide, if the losses go on as they are."""
MOST = 1000
"""Numbers above are not told: the row is too close to its margin."""


class Spread(NamedTuple):
    """How the losses of a row vary."""

    n: int = 0
    mean: float = math.nan
    deviation: float = math.nan
    """The standard deviation of a seed's loss; nan for a single seed."""
    infinite: int | None = None
    """The infinitely large losses minus the infinitely small ones; None where all losses are finite."""


def spread_of(losses: Array) -> Spread:
    """The spread of losses at paired seeds."""
    if (unending := np.isinf(losses)).any():
        return Spread(len(losses), infinite=int(np.sign(losses[unending]).sum()))
    deviation = float(losses.std(ddof=1)) if len(losses) > 1 else math.nan
    return Spread(len(losses), float(losses.mean()), deviation)


def spread_of_two(before: Array, after: Array) -> Spread:
    """The spread of the difference of two independent samples, for as many seeds as the smaller one has."""
    n = min(len(before), len(after))
    if np.isinf(before).any() or np.isinf(after).any():
        return Spread(n, infinite=int(np.isinf(after).sum()) - int(np.isinf(before).sum()))
    deviation = math.hypot(float(before.std(ddof=1)), float(after.std(ddof=1))) if n > 1 else math.nan
    return Spread(n, float(after.mean() - before.mean()), deviation)


def more_seeds(spread: Spread, margin: float, level: float, alpha: float) -> float | None:
    """About how many further seeds decide a row, if further losses are like these.

    With a mean d and standard deviation s over n seeds, about ((z_{1-a} + z_{0.8}) s / g)^2 seeds decide the row. g is
    the distance from d to the nearest margin. The level a is ``level`` where d lies beyond a margin, and ``alpha``
    inside. A level a takes at least log2(1 / a) seeds, since turning signs gives p-values of 2^-n or more. Of losses
    among which k more are infinitely large than infinitely small, or the reverse, about n log2(1 / a) / k seeds decide.

    Returns:
        the number; infinity where it is above ``MOST``; None where nobody can say.
    """
    n, mean, deviation, infinite = spread
    if n == 0 or min(level, alpha) <= 0:
        return None
    if infinite is not None:
        return _further(math.log2(1 / level) * n / abs(infinite), n) if infinite else None
    if n == 1:
        return _further(math.log2(1 / level), n)
    gap = abs(abs(mean) - margin)
    used = alpha if abs(mean) <= margin else level
    noise = (-float(ndtri(used)) + float(ndtri(POWER))) * deviation
    needed = math.inf if gap == 0 and noise > 0 else (noise / gap) ** 2 if gap else 0.0
    return _further(max(needed, math.log2(1 / used)), n)


def _further(needed: float, n: int) -> float:
    return float(max(1, math.ceil(needed - 1e-9) - n)) if needed <= MOST + n else math.inf
