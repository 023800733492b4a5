"""What problems declare as their starting level: the metrics of an answer that has learned nothing of the inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence


def chance(shares: Sequence[float], metric: str) -> float | None:
    """The accuracy or the cross-entropy (nats) of the best constant answer, for classes with given shares.

    >>> chance([0.1] * 10, "accuracy"), round(chance([0.1] * 10, "loss"), 4)
    (0.1, 2.3026)
    """
    if metric == "accuracy":
        return max(shares)
    return -sum(share * math.log(share) for share in shares if share) if metric == "loss" else None


def mean_pixel(pixels: int, mean: float, deviation: float, metric: str) -> float | None:
    """The squared error or the sigmoid cross-entropy (nats) of an image of which each pixel is the mean pixel.

    Args:
        pixels: the number D of pixels of an image; both metrics are sums over pixels.
        mean: the mean m of all pixels, in (0, 1).
        deviation: the standard deviation s of all pixels. The squared error is D s^2, the cross-entropy is
            -D [m log m + (1 - m) log(1 - m)].
        metric: ``squared_error`` or ``loss``.
    """
    if metric == "squared_error":
        return pixels * deviation**2
    return pixels * -(mean * math.log(mean) + (1 - mean) * math.log1p(-mean)) if metric == "loss" else None
