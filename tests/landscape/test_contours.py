from __future__ import annotations

import numpy as np
import pytest

from thalweg.landscape.contours import contour_levels, filled_contours


def area(x: np.ndarray, y: np.ndarray) -> float:
    """Signed area of a closed path (shoelace formula)."""
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def test_the_region_above_a_cones_level_has_the_known_area_hole_included() -> None:
    t = np.linspace(-1, 1, 401)
    x, y = np.meshgrid(t, t)
    polygons = filled_contours(t, t, np.hypot(x, y), np.array([0.0, 0.5]))
    areas = {
        level: sum(abs(area(part["x"].to_numpy(), part["y"].to_numpy())) for _, part in of_level.groupby("polygon"))
        for level, of_level in polygons.groupby("level")
    }
    assert areas[0.0] == pytest.approx(4, rel=1e-9)
    # a square of side two less a disk of radius one half; the polygon of 401 points is that close to a circle
    assert areas[0.5] == pytest.approx(4 - np.pi / 4, rel=1e-4)


def test_values_that_are_not_finite_are_left_unpainted() -> None:
    t = np.linspace(0, 1, 11)
    z = np.tile(t, (11, 1))
    z[:, 6:] = np.nan
    polygons = filled_contours(t, t, z, np.array([0.0]))
    assert polygons["x"].max() == pytest.approx(0.5)


def test_levels_are_even_on_their_scale() -> None:
    np.testing.assert_allclose(contour_levels(np.array([0.0, 1.0]), 4, log=False), [0, 0.25, 0.5, 0.75])
    values = np.concatenate([np.full(50, 1.0), np.full(50, 1e4), [np.nan, np.inf, -1.0, 0.0]])
    np.testing.assert_allclose(contour_levels(values, 4, log=True), [1, 10, 100, 1000])
    assert len(contour_levels(np.array([np.nan]), 4, log=True)) == 1
    assert contour_levels(np.array([2.0, 2.0]), 4, log=True).tolist() == [2.0]
