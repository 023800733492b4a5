"""What the shape of a curve of losses is, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CURVATURE_TOLERANCE = 1e-4
"""A second difference down to this share of the drop below zero counts as convex: rounding is smaller, bends are not.
"""

ROUNDING = 1e-12
"""The same for roughness in float64, as a share of the range."""


@dataclass(frozen=True)
class LineShape:
    """The shape of L_0, ..., L_n at evenly spaced points from start to finish; shares are fractions of one.

    ``monotone``: the share of steps that do not rise. ``bump``: the largest rise above the least value so far, over the
    drop L_0 - L_n. ``chord_excess``: the largest L_i - chord_i over the drop, the chord being the straight line from
    L_0 to L_n. ``convex``: the share of second differences above -1e-4 of the drop. nan where a value is not finite, or
    nothing drops.
    """

    monotone: float
    bump: float
    chord_excess: float
    convex: float


def line_shape(losses: Floats) -> LineShape:
    """The shape of the losses (n + 1,) on a line.

    Source: Goodfellow, Vinyals & Saxe 2014, section 3; Lucas et al. 2021, section 3, for the bump.

    >>> line_shape(np.array([4.0, 1.0, 0.0]))
    LineShape(monotone=1.0, bump=0.0, chord_excess=0.0, convex=1.0)
    >>> line_shape(np.array([4.0, 6.0, 0.0])).bump
    0.5
    """
    drop = float(losses[0] - losses[-1])
    if not np.isfinite(losses).all() or len(losses) < 3:
        return LineShape(np.nan, np.nan, np.nan, np.nan)
    monotone = float((np.diff(losses) <= 0).mean())
    if drop <= 0:
        return LineShape(monotone, np.nan, np.nan, np.nan)
    chord = np.linspace(losses[0], losses[-1], len(losses))
    return LineShape(
        monotone,
        float((losses - np.minimum.accumulate(losses)).max() / drop),
        float((losses - chord).max() / drop),
        float((np.diff(losses, 2) >= -CURVATURE_TOLERANCE * drop).mean()),
    )


@dataclass(frozen=True)
class Roughness:
    """How rough a curve is at evenly spaced points h apart.

    ``concave``: the share of second differences below -1e-12 of the range. ``range``: max - min. ``excess_variation``:
    the total variation beyond that of the curve's ends and its least point, over the range: zero for a valley.
    ``curvature``: the second difference at the middle over h^2.
    """

    concave: float
    range: float
    excess_variation: float
    curvature: float


def roughness(losses: Floats, h: float) -> Roughness:
    """The roughness of losses (n,), n odd, at points h apart; nan where a value is not finite.

    >>> roughness(np.array([4.0, 1.0, 0.0, 1.0, 4.0]), 1.0)
    Roughness(concave=0.0, range=4.0, excess_variation=0.0, curvature=2.0)
    """
    if not np.isfinite(losses).all() or len(losses) < 3:
        return Roughness(np.nan, np.nan, np.nan, np.nan)
    spread = float(np.ptp(losses))
    second = np.diff(losses, 2)
    least = losses.min()
    valley = (losses[0] - least) + (losses[-1] - least)
    excess = (np.abs(np.diff(losses)).sum() - valley) / spread if spread else 0.0
    return Roughness(
        float((second < -ROUNDING * spread).mean()),
        spread,
        float(max(excess, 0.0)),
        float(second[len(second) // 2] / h**2),
    )


def barrier(losses: Floats) -> float:
    """max_t L(t) - ((1 - t) L_0 + t L_n): how far the path between two ends rises above the chord; zero at least.

    Source: Frankle et al. 2020, section 2, with the mean of the ends; with the chord: Entezari et al. 2022.

    >>> barrier(np.array([1.0, 5.0, 3.0]))
    3.0
    """
    return float((losses - np.linspace(losses[0], losses[-1], len(losses))).max())
