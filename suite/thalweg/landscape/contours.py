"""Filled contours of a grid, as polygons that a chart can draw."""

from __future__ import annotations

import itertools
from typing import Any

import contourpy
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def contour_levels(values: Floats, count: int, log: bool) -> Floats:
    """``count`` levels below the largest finite value, evenly spaced on a linear or log scale.

    The lowest level is the smallest value, or on a log scale the 1% quantile of the positive values. Near a minimum of
    zero the smallest positive value is rounding, and the gap above it would take all the colours.
    """
    usable = values[np.isfinite(values) & ((values > 0) | (not log))]
    if usable.size == 0:
        return np.array([0.0])
    low, high = float(np.quantile(usable, 0.01) if log else usable.min()), float(usable.max())
    if low == high:
        return np.array([low])
    if log:
        return np.geomspace(low, high, count + 1)[:-1]
    return np.linspace(low, high, count + 1)[:-1]


def filled_contours(x: Floats, y: Floats, z: Floats, levels: Floats) -> pd.DataFrame:
    """The regions {z >= level} for each level. Paint them over one another in this order.

    Args:
        x: shape (n,), the columns' positions.
        y: shape (m,), the rows' positions.
        z: shape (m, n); values that are not finite stay unpainted.
        levels: ascending.

    Returns:
        A row for each vertex: level, polygon, vertex, x, y. A polygon with holes is one closed path: the path enters
        and leaves each hole by one edge, and goes round the hole the other way, so that filling leaves the hole open.
    """
    generator = contourpy.contour_generator(x, y, np.ma.masked_invalid(z), fill_type=contourpy.FillType.OuterOffset)
    top = float(np.nanmax(np.where(np.isfinite(z), z, -np.inf))) if np.isfinite(z).any() else 0.0
    pieces: list[pd.DataFrame] = []
    for level in levels:
        # the lowest region covers everything, even where the minimum is rounded
        low = -np.inf if level == levels[0] else float(level)
        found: Any = generator.filled(max(low, -1e300), max(top, float(level)) + abs(top) + 1.0)
        for path, offset in zip(*found, strict=True):
            rings = [path[start:end] for start, end in itertools.pairwise(offset)]
            outline = np.concatenate([rings[0], *(np.concatenate([ring, rings[0][:1]]) for ring in rings[1:])])
            pieces.append(
                pd.DataFrame(
                    {
                        "level": float(level),
                        "polygon": len(pieces),
                        "vertex": np.arange(len(outline)),
                        "x": outline[:, 0],
                        "y": outline[:, 1],
                    }
                )
            )
    columns = ["level", "polygon", "vertex", "x", "y"]
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=columns)
