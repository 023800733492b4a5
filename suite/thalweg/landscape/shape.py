"""Measures of the shape of a curve of losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CURVATURE_TOLERANCE = 1e-4
"""A second difference above minus this share of the drop counts as convex. Rounding is smaller, bends are larger."""

ROUNDING = 1e-12
"""The tolerance for roughness in float64, as a share of the range."""


@dataclass(frozen=True)
class LineShape:
    """The shape of L_0, ..., L_n at evenly spaced points from start to finish. Shares are fractions of one.

    ``monotone`` is the share of steps that do not rise. ``bump`` is the largest rise above the least value so far,
    divided by the drop L_0 - L_n. ``chord_excess`` is the largest L_i - chord_i divided by the drop, where the chord is
    the straight line from L_0 to L_n. ``convex`` is the share of second differences above -1e-4 of the drop. Values are
    nan where a loss is not finite, or where the drop is not positive.
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
    """The roughness of a curve at evenly spaced points with distance h.

    ``concave`` is the share of second differences below -1e-12 of the range. ``range`` is max - min.
    ``excess_variation`` is the total variation, less the variation of the two straight lines from the ends to the least
    point, divided by the range; a valley has zero. ``curvature`` is the second difference at the middle over h^2.
    """

    concave: float
    range: float
    excess_variation: float
    curvature: float


def roughness(losses: Floats, h: float) -> Roughness:
    """The roughness of losses (n,), n odd, at points with distance h; nan where a loss is not finite.

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
    """max_t L(t) - ((1 - t) L_0 + t L_n): the largest rise of a path above the chord between its ends, at least zero.

    Source: Entezari et al. 2022; with the mean of the ends in place of the chord: Frankle et al. 2020, section 2.

    >>> barrier(np.array([1.0, 5.0, 3.0]))
    3.0
    """
    return float((losses - np.linspace(losses[0], losses[-1], len(losses))).max())
