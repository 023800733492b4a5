from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from thalweg.landscape.adaptive import AdaptiveSurface, adaptive_surface

T = np.linspace(-1, 1, 51)
X, Y = np.meshgrid(T, T)


def run(
    f: Callable[[np.ndarray], np.ndarray], tolerance: float = 0.01, log: bool = False, most: int = 130
) -> AdaptiveSurface:
    return adaptive_surface(f, (-1, 1), (-1, 1), tolerance, log=log, most=most, generator=np.random.default_rng(0))


def bowl(p: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(2 * p[:, 0] ** 2 + p[:, 1] ** 2 + p[:, 0]))


@pytest.mark.parametrize("log", [False, True])
def test_a_smooth_bowl_is_within_the_tolerance_everywhere(log: bool) -> None:
    found = run(bowl, log=log)
    exact = bowl(np.column_stack([X.ravel(), Y.ravel()])).reshape(X.shape)
    a, b = (np.log(found.grid(T, T)), np.log(exact)) if log else (found.grid(T, T), exact)
    assert found.reached
    assert np.abs(a - b).max() <= 0.01 * np.ptp(b)


def test_evaluations_are_counted_and_within_the_budget_and_exact_and_include_the_centre() -> None:
    calls: list[int] = []

    def kink(p: np.ndarray) -> np.ndarray:
        calls.append(len(p))
        return np.asarray(np.abs(p).sum(1))

    found = run(kink, 1e-9, most=81)
    assert sum(calls) == found.evaluations == 81
    assert not found.reached
    assert found.held_out.sum() == 16
    assert (found.points == 0).all(1).any()
    np.testing.assert_array_equal(found.at(*found.points.T), found.values)
    np.testing.assert_array_equal(run(kink, 1e-9, most=81).points, found.points)


def test_a_diverged_corner_is_nan_and_not_smoothed_over() -> None:
    found = run(lambda p: np.where(p.sum(1) > 1.5, np.inf, bowl(p)))
    assert np.isnan(found.at(np.array([1.0]), np.array([1.0]))).all()
    assert np.isfinite(found.at(np.array([0.0]), np.array([0.0]))).all()


def test_losses_that_have_no_log_or_are_constant() -> None:
    assert np.isnan(run(lambda p: np.zeros(len(p)), log=True).max_error)
    assert run(lambda p: np.full(len(p), 3.0)).evaluations == 41


def test_a_rectangle_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="rectangle"):
        adaptive_surface(bowl, (0, 0), (0, 1), 0.1, log=False, most=99, generator=np.random.default_rng(0))
