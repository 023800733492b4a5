"""The line search of ``torch.optim.LBFGS`` as a generator, so that the searches of several networks can take turns."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from thalweg.errors import Diverged
from thalweg_plugins.optimizers.second_order._wolfe import Point

Search = Generator[Any, Point, Point]
"""Yields the next alpha, is sent the point there, and returns the point that it has found."""

_C1, _C2, _SHORTEST = 1e-4, 0.9, 1e-9
"""The constants of the Wolfe conditions, and the length in the largest coordinate at which a bracket is given up."""


def search_of_torch(first: Any, start: Point, extent: Callable[[], Any], most: int) -> Search:
    """The points that ``torch.optim.LBFGS`` tries with ``strong_wolfe``, in its order and in its arithmetic.

    Slopes are NumPy numbers of the weights' precision, values are Python's: they mix as torch's numbers do.

    Args:
        first: the first alpha.
        start: the point at alpha = 0, which is Python's 0.
        extent: the largest coordinate of the direction.
        most: how many further points are tried after the first.

    Raises:
        Diverged: the only loss of a bracket is nan, where torch raises IndexError.

    Source: minFunc (Schmidt 2005), as ported in ``torch/optim/lbfgs.py``.
    """
    before, new = start, (yield first)
    tried, done = 0, False
    while tried < most:
        if _too_high(new, start) or (tried > 1 and new.value >= before.value):
            bracket = [before, new]
            break
        if abs(new.slope) <= -_C2 * start.slope:
            bracket, done = [new], True
            break
        if new.slope >= 0:
            bracket = [before, new]
            break
        near, far = new.alpha + 0.01 * (new.alpha - before.alpha), new.alpha * 10
        alpha = _lowest_between(before, new, near, far)
        before, new = new, (yield alpha)
        tried += 1
    else:
        bracket = [start, new]
    low, high = _order(bracket)
    if low == len(bracket):
        raise Diverged("the line search met a loss that is no number")
    close = False
    while not done and tried < most:
        if abs(bracket[1].alpha - bracket[0].alpha) * extent() < _SHORTEST:
            break
        alpha, close = _inside(bracket, close)
        new = yield alpha
        tried += 1
        if _too_high(new, start) or new.value >= bracket[low].value:
            bracket[high] = new
            low, high = _order(bracket)
            continue
        if abs(new.slope) <= -_C2 * start.slope:
            done = True
        elif new.slope * (bracket[high].alpha - bracket[low].alpha) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
    return bracket[low]


def _too_high(point: Point, start: Point) -> bool:
    """Whether a point has too little decrease (Armijo)."""
    return bool(point.value > start.value + _C1 * point.alpha * start.slope)


def _order(bracket: list[Point]) -> tuple[int, int]:
    """The places of the lower and of the higher end."""
    return (0, 1) if bracket[0].value <= bracket[-1].value else (1, 0)


def _inside(bracket: list[Point], close: bool) -> tuple[Any, bool]:
    """The next alpha in a bracket, and whether it is close to an end; the second time in a row, it moves away."""
    one, other = bracket
    ends = one.alpha, other.alpha
    left, right = (ends[0], ends[1]) if ends[0] <= ends[1] else (ends[1], ends[0])
    alpha = _lowest_between(one, other, left, right)
    margin = 0.1 * (max(ends) - min(ends))
    if not min(max(ends) - alpha, alpha - min(ends)) < margin:
        return alpha, False
    if not (close or alpha >= max(ends) or alpha <= min(ends)):
        return alpha, True
    nearer_right = abs(alpha - max(ends)) < abs(alpha - min(ends))
    return (max(ends) - margin if nearer_right else min(ends) + margin), False


def _lowest_between(one: Point, other: Point, left: Any, right: Any) -> Any:
    """The minimiser of the cubic through two points, within bounds; the middle of the bounds where it has none.

    Source: Nocedal & Wright 2006, equation 3.59.
    """
    d1 = one.slope + other.slope - 3 * (one.value - other.value) / (one.alpha - other.alpha)
    square = d1 * d1 - one.slope * other.slope
    if not square >= 0:
        return (left + right) / 2.0
    d2 = np.sqrt(square)
    first, last = (one, other) if one.alpha <= other.alpha else (other, one)
    share = (last.slope + d2 - d1) / (last.slope - first.slope + 2 * d2)
    return min(max(last.alpha - (last.alpha - first.alpha) * share, left), right)
