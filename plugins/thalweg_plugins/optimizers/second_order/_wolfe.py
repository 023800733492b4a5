"""A line search for the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """phi(alpha) = f(w + alpha d) and its derivative at one alpha; ``payload`` holds other results at alpha."""

    alpha: float
    value: float
    slope: float
    payload: Any = None


@dataclass(frozen=True)
class Found:
    """The last point of a line search; ``satisfied`` says whether the point meets the strong Wolfe conditions."""

    point: Point
    satisfied: bool
    evaluations: int


def strong_wolfe(
    phi: Callable[[float], Point],
    start: Point,
    first: float = 1.0,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_evaluations: int = 25,
) -> Found:
    """An alpha > 0 with phi(alpha) <= phi(0) + c1 alpha phi'(0) and |phi'(alpha)| <= c2 |phi'(0)|.

    The search doubles alpha from ``first`` to find a bracket and then shrinks the bracket by cubic interpolation. Where
    two interpolations have not made the bracket a third smaller, it bisects. Where ``max_evaluations`` find no such
    alpha, the lowest point is returned, which may be ``start``.

    Source: Nocedal & Wright 2006, algorithms 3.5 and 3.6; equation 3.59.

    >>> found = strong_wolfe(lambda a: Point(a, (a - 3.0) ** 2, 2 * (a - 3.0)), Point(0.0, 9.0, -6.0))
    >>> found.point.alpha, found.satisfied
    (1.0, True)
    """
    lowest = start
    evaluations = 0

    def evaluate(alpha: float) -> Point:
        nonlocal lowest, evaluations
        evaluations += 1
        point = phi(alpha)
        if point.value < lowest.value:
            lowest = point
        return point

    def too_high(point: Point, low: Point) -> bool:
        """Whether a point is too high; a value of nan counts as too high."""
        return not point.value <= start.value + c1 * point.alpha * start.slope or point.value >= low.value

    def flat_enough(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    # algorithm 3.5: find low and high that bracket an alpha with both conditions
    low, high, alpha = start, None, first
    while evaluations < max_evaluations:
        point = evaluate(alpha)
        if too_high(point, low):
            high = point
            break
        if flat_enough(point):
            return Found(point, True, evaluations)
        if point.slope >= 0:
            low, high = point, low
            break
        low, alpha = point, 2 * alpha
    # algorithm 3.6
    widths = [math.inf, math.inf]
    while high is not None and evaluations < max_evaluations:
        widths.append(abs(high.alpha - low.alpha))
        slow = widths[-1] > 2 / 3 * widths[-3]
        alpha = (low.alpha + high.alpha) / 2 if slow else _between(low, high)
        if alpha in (low.alpha, high.alpha):
            break  # no number lies between them
        point = evaluate(alpha)
        if too_high(point, low):
            high = point
            continue
        if flat_enough(point):
            return Found(point, True, evaluations)
        if point.slope * (high.alpha - low.alpha) >= 0:
            high = low
        low = point
    return Found(lowest, False, evaluations)


def _between(low: Point, high: Point) -> float:
    """The minimiser of the cubic through both ends; the midpoint where no minimiser lies between them."""
    width = high.alpha - low.alpha
    d1 = low.slope + high.slope - 3 * (low.value - high.value) / (low.alpha - high.alpha)
    root = d1 * d1 - low.slope * high.slope
    if math.isfinite(root) and root >= 0:
        d2 = math.copysign(math.sqrt(root), width)
        bottom = high.slope - low.slope + 2 * d2
        share = 1 - (high.slope + d2 - d1) / bottom if bottom else 0.5
        if 0 < share < 1:
            return low.alpha + share * width
    return low.alpha + width / 2
