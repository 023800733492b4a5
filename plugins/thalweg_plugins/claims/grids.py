"""Which points of a long curve are kept for its picture."""

from __future__ import annotations


def log_grid(count: int, points: int = 120) -> list[int]:
    """About ``points`` whole numbers from 1 to ``count``, evenly spaced on a logarithmic axis, the ends included.

    >>> log_grid(100, 5)
    [1, 3, 10, 32, 100]
    """
    ratio = count ** (1 / (points - 1))
    return sorted({max(1, min(count, round(ratio**place))) for place in range(points)})
