from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from thalweg.landscape.adaptive import AdaptiveSurface, _root, adaptive_surface

T = np.linspace(-1, 1, 51)
X, Y = np.meshgrid(T, T)
GRID = np.column_stack([X.ravel(), Y.ravel()])
Function = Callable[[np.ndarray], np.ndarray]


def run(
    f: Function, tolerance: float = 0.01, log: bool = False, most: int = 130, seed: int = 0, x: float = -1
) -> AdaptiveSurface:
    return adaptive_surface(f, (x, 1), (-1, 1), tolerance, log=log, most=most, generator=np.random.default_rng(seed))


def largest(found: AdaptiveSurface, f: Function, log: bool = False) -> float:
    """The largest error on the grid of 51 x 51, as a share of the range."""
    exact, ours = f(GRID), found.grid(T, T).ravel()
    if log:
        exact, ours = np.log(exact), np.log(ours)
    return float(np.abs(ours - exact).max() / np.ptp(exact))


def bowl(p: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(2 * p[:, 0] ** 2 + p[:, 1] ** 2 + p[:, 0]))


def waves(seed: int) -> Function:
    """A random sum of waves: a smooth positive surface with a range of about 3."""
    generator = np.random.default_rng(seed)
    frequencies, phases = 2 * generator.standard_normal((12, 2)), 6.3 * generator.random(12)
    return lambda p: np.asarray(4 + np.cos(p @ frequencies.T + phases).sum(1) / 3)


@pytest.mark.parametrize("log", [False, True])
def test_a_smooth_bowl_is_within_the_tolerance_everywhere(log: bool) -> None:
    found = run(bowl, log=log)
    assert found.reached
    assert largest(found, bowl, log) <= 0.01


@pytest.mark.parametrize("lift", [0.0, 1.0])
def test_a_quadratic_is_reproduced_from_the_starting_points(lift: float) -> None:
    def quadratic(p: np.ndarray) -> np.ndarray:
        return np.asarray(lift + 3 * p[:, 0] ** 2 + p[:, 0] * p[:, 1] + p[:, 1] ** 2)

    found = run(quadratic)
    assert found.evaluations == 41
    assert found.max_error < 3e-6
    assert largest(found, quadratic) < 3e-6


def test_a_loss_as_an_exponential_is_modelled_by_its_logarithm_whatever_the_scale_asked_for() -> None:
    """On the linear scale too: a polynomial of these degrees leaves ten per cent."""

    def steep(p: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(4 * p[:, 0] ** 2 + 4 * p[:, 1] ** 2))

    for log in (False, True):
        assert largest(run(steep, log=log, most=42), steep, log) < 1e-4


def test_a_logarithm_is_not_forced_on_losses_that_are_polynomials() -> None:
    """log of 1e-4 + r^2 is a funnel that 42 points cannot follow; the quadratic itself is easy."""

    def near_zero(p: np.ndarray) -> np.ndarray:
        return np.asarray(1e-4 + (p**2).sum(1))

    assert largest(run(near_zero, most=42), near_zero) < 1e-5
    assert largest(run(near_zero, log=True, most=42), near_zero, True) < 0.01


def test_evaluations_gather_where_a_surface_bends() -> None:
    def off(p: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(p[:, 0] + p[:, 1] / 2 - 0.3))

    found = run(off, 1e-9, most=130)
    placed = found.points[26 : found.evaluations - 16]
    assert (off(placed) < 0.2).mean() > 1.5 * (off(GRID) < 0.2).mean()


def test_evaluations_are_counted_and_within_the_budget_and_exact_and_include_the_centre() -> None:
    calls: list[int] = []

    def kink(p: np.ndarray) -> np.ndarray:
        calls.append(len(p))
        return np.asarray(np.abs(p).sum(1))

    found = run(kink, 1e-9, most=83)
    assert sum(calls) == found.evaluations == 83
    assert not found.reached
    assert found.held_out.sum() == 16
    assert (found.points == 0).all(1).any()
    np.testing.assert_array_equal(found.at(*found.points.T), found.values)


def test_a_seed_gives_the_same_bits_and_another_other_held_out_points() -> None:
    one, two, other = run(waves(0)), run(waves(0)), run(waves(0), seed=1)
    np.testing.assert_array_equal(one.points, two.points)
    np.testing.assert_array_equal(one.grid(T, T), two.grid(T, T))
    assert not np.isin(other.points[other.held_out], one.points[one.held_out]).any()


@pytest.mark.parametrize("log", [False, True])
def test_the_error_at_held_out_points_is_of_the_order_of_the_true_error(log: bool) -> None:
    """The interpolant goes through the points it saw, so that residuals there would be zero."""
    found = [(run(waves(seed), 1e-9, log=log, most=90), waves(seed)) for seed in range(8)]
    ratios = [surface.max_error / largest(surface, f, log) for surface, f in found]
    assert 0.3 < np.exp(np.mean(np.log(ratios))) < 10
    assert min(ratios) > 0.05
    assert all(surface.max_error >= surface.rms_error > 0 for surface, _ in found)


def test_losses_of_held_out_points_do_not_place_others() -> None:
    f = waves(3)
    held = run(f).points[run(f).held_out]

    def other(p: np.ndarray) -> np.ndarray:
        """The same but at the held-out points."""
        return np.where((p[:, None] == held).all(-1).any(1), f(p) + 1, f(p))

    one, two = run(f, 1e-9), run(other, 1e-9)
    assert np.abs(one.values - two.values).max() == pytest.approx(1)
    np.testing.assert_array_equal(one.points, two.points)
    assert two.max_error > one.max_error + 0.1


def test_reached_needs_held_out_points_and_the_estimate_within_the_tolerance() -> None:
    """A spike on a starting point that no held-out point sees: the estimate alone speaks against stopping."""

    def spike(p: np.ndarray) -> np.ndarray:
        return np.asarray(bowl(p) + 5 * (np.abs(p - 1).max(1) < 0.05))

    found = run(spike, most=50)
    assert not found.reached
    for seed in range(6):
        assert largest(run(waves(seed), 0.03, seed=seed), waves(seed)) <= 0.03


def test_a_diverged_corner_is_nan_and_not_smoothed_over() -> None:
    found = run(lambda p: np.where(p.sum(1) > 1.5, np.inf, bowl(p)))
    assert np.isnan(found.at(np.array([1.0]), np.array([1.0]))).all()
    assert np.isfinite(found.at(np.array([0.0]), np.array([0.0]))).all()


def test_a_diverged_half_does_not_take_the_whole_budget() -> None:
    found = run(lambda p: np.where(p[:, 0] > 0.1, np.nan, waves(0)(p)), 1e-9, most=130)
    placed = found.points[26 : found.evaluations - 16]
    assert (placed[:, 0] <= 0.1).mean() > 0.6
    assert found.max_error < 0.05


def test_losses_that_have_no_log_or_are_constant_or_never_finite() -> None:
    assert np.isnan(run(lambda p: np.zeros(len(p)), log=True).max_error)
    assert run(lambda p: np.full(len(p), 3.0)).evaluations == 41
    nowhere = run(lambda p: np.full(len(p), np.nan))
    assert not nowhere.reached
    assert np.isnan(nowhere.grid(T, T)).all()


@pytest.mark.parametrize("log", [False, True])
def test_interpolated_positive_losses_are_positive(log: bool) -> None:
    found = run(lambda p: 1e-8 + np.maximum(0, np.abs(p).max(1) - 0.5) ** 2, log=log, most=60)
    assert found.grid(T, T).min() > 0


@pytest.mark.parametrize(
    "losses",
    [
        lambda p: np.where(p[:, 0] > 0, 1e140, 1e-140),
        lambda p: 1 + 1e-13 * p[:, 0],
        lambda p: np.random.default_rng(0).random(len(p)),
    ],
    ids=["huge", "flat but for rounding", "noise"],
)
def test_ill_conditioned_losses_and_near_duplicates_are_no_error(losses: Function) -> None:
    """From x = -1e-9 on the centre lies next to starting points."""
    for x in (-1.0, -1e-9):
        found = run(losses, 1e-9, most=120, x=x)
        assert np.isfinite(found.at(found.points[:, 0], found.points[:, 1])).all()


def test_a_kernel_that_has_no_factor_is_given_more_jitter() -> None:
    points = np.repeat(1e4 * GRID[::500], 30, axis=0)  # duplicates, and a trend whose rounding exceeds any jitter
    assert np.isfinite(_root(points, np.array([1.0, 1.0]))).all()


def test_what_does_not_fit_is_refused() -> None:
    generator = np.random.default_rng(0)
    for x in ((0, 0), (1, 0), (0, np.inf)):
        with pytest.raises(ValueError, match="rectangle"):
            adaptive_surface(bowl, x, (0, 1), 0.1, log=False, most=99, generator=generator)
    for tolerance, most in ((0, 99), (np.nan, 99), (0.1, 41)):
        with pytest.raises(ValueError, match="tolerance > 0 and most >= 42"):
            adaptive_surface(bowl, (0, 1), (0, 1), tolerance, log=False, most=most, generator=generator)
