from __future__ import annotations

import numpy as np
import pytest

from thalweg.landscape.shape import barrier, line_shape, roughness


def test_the_shape_of_a_line_by_hand() -> None:
    #        falls, rises by 3 above its least value of 4, falls to 0; the chord is 10, 7.5, 5, 2.5, 0
    found = line_shape(np.array([10.0, 4.0, 7.0, 3.0, 0.0]))
    assert found.monotone == 3 / 4
    assert found.bump == pytest.approx(3 / 10)
    assert found.chord_excess == pytest.approx(2 / 10)
    # second differences 9, -7, 1
    assert found.convex == pytest.approx(2 / 3)


def test_a_convex_falling_line_has_the_best_shape_and_noise_below_the_tolerance_counts_for_nothing() -> None:
    t = np.linspace(0, 1, 101)
    found = line_shape((1 - t) ** 2)
    assert (found.monotone, found.bump, found.convex) == (1.0, 0.0, 1.0)
    assert found.chord_excess <= 0
    assert line_shape((1 - t) ** 2 + 1e-6 * np.cos(np.pi * np.arange(101))).convex == 1.0
    assert line_shape((1 - t) ** 2 + 1e-3 * np.cos(np.pi * np.arange(101))).convex < 0.8


def test_a_line_that_does_not_drop_or_is_not_finite_has_no_bump() -> None:
    assert np.isnan(line_shape(np.array([1.0, 2.0, 3.0])).bump)
    assert line_shape(np.array([1.0, 2.0, 3.0])).monotone == 0
    assert np.isnan(line_shape(np.array([1.0, np.inf, 0.0])).monotone)


def test_roughness_of_a_parabola_and_of_waves_on_it() -> None:
    t = np.linspace(-1, 1, 201)
    smooth = roughness(3 * t**2, t[1] - t[0])
    assert smooth.concave == 0
    assert smooth.curvature == pytest.approx(6)
    assert smooth.excess_variation == pytest.approx(0, abs=1e-12)
    rough = roughness(3 * t**2 + 0.1 * np.sin(40 * t), t[1] - t[0])
    assert 0.3 < rough.concave < 0.6
    assert rough.excess_variation > 0.1


def test_the_barrier_of_a_convex_line_is_zero_and_it_does_not_depend_on_the_direction() -> None:
    t = np.linspace(0, 1, 11)
    assert barrier((t - 0.3) ** 2) == 0
    hill = 2 * t + np.sin(np.pi * t)
    assert barrier(hill) == pytest.approx(1)
    assert barrier(hill[::-1]) == pytest.approx(1)
