"""BFGS, L-BFGS and their line search (CLAIMS: A3 and A4)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from second_order import Bench, analytic
from thalweg.errors import Diverged, UserError
from thalweg.registry import Registry
from thalweg.testing.small import network, problem, same
from thalweg_plugins.optimizers.second_order._quasi_newton import two_loop
from thalweg_plugins.optimizers.second_order._wolfe import Point, strong_wolfe

Vector = NDArray[np.float64]
QUADRATICS = [(20, 100.0), (50, 1000.0)]
every_quadratic = pytest.mark.parametrize(("dim", "kappa"), QUADRATICS)


def quadratic(registry: Registry, optimizer: str, dim: int, kappa: float, **h: object) -> tuple[Bench, Tensor]:
    bench = analytic(registry, optimizer, "quadratic", options={"dim": dim, "kappa": kappa}, **h)
    return bench, bench.problem.hessian(bench.w)  # type: ignore[attr-defined]


# --- the line search


LINES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "quadratic": (lambda a: (a - 3) ** 2, lambda a: 2 * (a - 3)),
    # More & Thuente 1994, functions (5.1) and (5.2), the latter begun further on
    "first": (lambda a: -a / (a**2 + 2), lambda a: (a**2 - 2) / (a**2 + 2) ** 2),
    "second": (lambda a: (a + 0.04) ** 5 - 2 * (a + 0.04) ** 4,
               lambda a: 5 * (a + 0.04) ** 4 - 8 * (a + 0.04) ** 3),
    "waves": (lambda a: np.cos(3 * a) - a, lambda a: -3 * np.sin(3 * a) - 1),
    "log barrier": (lambda a: -np.log(5 - a) - 3 * a if a < 5 else np.nan,
                    lambda a: 1 / (5 - a) - 3 if a < 5 else np.nan),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("c2", [0.1, 0.9])
def test_the_line_search_meets_the_strong_wolfe_conditions(name: str, first: float, c2: float) -> None:
    f, df = LINES[name]
    found = strong_wolfe(lambda a: Point(a, f(a), df(a)), Point(0.0, f(0), df(0)), first, c2=c2)
    assert found.satisfied
    a = found.point.alpha
    assert a > 0
    assert f(a) <= f(0) + 1e-4 * a * df(0)
    assert abs(df(a)) <= c2 * abs(df(0))


def test_the_line_search_ends_where_scipys_does_on_rosenbrock() -> None:
    """Both are algorithms 3.5 and 3.6 from 1.0, with other interpolation: the same where the first trials serve."""
    x = np.array([-1.2, 1.0])
    agreed = 0
    for _ in range(20):
        g = scipy.optimize.rosen_der(x)
        d = -np.linalg.solve(scipy.optimize.rosen_hess(x) + 1e-3 * np.eye(2), g)
        if g @ d >= 0:
            d = -g / np.linalg.norm(g)
        theirs = scipy.optimize.line_search(scipy.optimize.rosen, scipy.optimize.rosen_der, x, d)[0]

        def phi(a: float, x: Vector = x, d: Vector = d) -> Point:
            return Point(a, scipy.optimize.rosen(x + a * d), scipy.optimize.rosen_der(x + a * d) @ d)

        ours = strong_wolfe(phi, phi(0.0))
        assert ours.satisfied
        assert theirs is not None
        agreed += np.isclose(ours.point.alpha, theirs, rtol=1e-6)
        # scipy's point meets our conditions and ours lowers the function as far as conditions ask
        assert ours.point.value <= phi(0.0).value + 1e-4 * ours.point.alpha * (g @ d)
        x = x + theirs * d
    assert agreed >= 15
    assert scipy.optimize.rosen(x) < 1e-10


def test_a_line_without_a_descent_ends_at_the_lowest_point_seen() -> None:
    found = strong_wolfe(lambda a: Point(a, 1.0 + a, -1.0), Point(0.0, 1.0, -1.0))
    assert not found.satisfied
    assert found.point.alpha == 0
    assert found.evaluations == 25
    endless = strong_wolfe(lambda a: Point(a, -a, -1.0), Point(0.0, 0.0, -1.0), max_evaluations=5)
    assert (endless.satisfied, endless.point.alpha) == (False, 16.0)


# --- BFGS


@every_quadratic
def test_bfgs_with_exact_steps_has_the_inverse_hessian_after_d_steps(
    registry: Registry, dim: int, kappa: float
) -> None:
    """A3; the error found is about 1e-14."""
    bench, hessian = quadratic(registry, "bfgs", dim, kappa, line_search="exact")
    bench.step(dim)
    error = bench.stepper.state_dict()["inverse"] - torch.linalg.inv(hessian)
    assert float(error.norm() / torch.linalg.inv(hessian).norm()) < 1e-8
    assert float(bench.problem.gradient(bench.w).norm()) < 1e-10  # type: ignore[attr-defined]


def test_bfgs_equals_a_hand_written_loop(registry: Registry) -> None:
    """Exact steps on a function that is no quadratic, against the product form of the update."""
    curvature = np.array([1.0, 4.0, 9.0, 2.0])

    def gradient(x: Vector) -> Vector:
        return curvature * x + x**3

    start = np.array([1.0, -0.5, 0.7, 0.2])
    c = torch.from_numpy(curvature)
    bench = analytic(
        registry, "bfgs", lambda x: 0.5 * (c * x) @ x + 0.25 * (x**4).sum(), torch.from_numpy(start),
        line_search="exact", initial_scaling=True, lr=0.9,
    )  # fmt: skip
    x, h = start, np.eye(4)
    for step in range(8):
        g = gradient(x)
        d = -h @ g
        s = -0.9 * (g @ d) / (d @ ((curvature + 3 * x**2) * d)) * d
        x = x + s
        y = gradient(x) - g
        if step == 0:
            h *= (s @ y) / (y @ y)
        v = np.eye(4) - np.outer(s, y) / (s @ y)
        h = v @ h @ v.T + np.outer(s, s) / (s @ y)
        bench.step()
        np.testing.assert_allclose(bench.w.numpy(), x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_bfgs_minimises_rosenbrock_at_its_defaults(registry: Registry, dim: int, scaled: bool) -> None:
    bench = analytic(registry, "bfgs", "rosenbrock", options={"dim": dim}, initial_scaling=scaled)
    bench.step(100)
    assert bench.loss < 1e-20
    # a line search takes little more than one evaluation, and there is one before it
    assert bench.objective.counts.gradient_evaluations < 350


def test_both_gradients_of_a_pair_come_from_one_batch(registry: Registry) -> None:
    bench = Bench(registry, "bfgs", problem(torch.float64), network(torch.float64), batch=16)
    bench.step(3)
    before = bench.w
    (before_gradient,) = [torch.cat([g.flatten() for g in _gradients(bench, bench.at)])]
    info = bench.step()
    assert info["skipped"] == 0
    s = bench.w - before
    y = torch.cat([g.flatten() for g in _gradients(bench, bench.at - 1)]) - before_gradient
    # the secant equation H y = s
    torch.testing.assert_close(bench.stepper.state_dict()["inverse"] @ y, s, rtol=1e-8, atol=1e-10)


def _gradients(bench: Bench, step: int) -> list[Tensor]:
    observer = bench.objective.observer()
    observer.begin_step(bench.problem.batch("train", step, bench.draw), step)
    return observer.gradient()[1]


def test_a_pair_without_curvature_is_skipped(registry: Registry) -> None:
    # an exact step from next to an inflexion of the cosine to beyond the next one but one, where it falls more steeply
    start = torch.tensor([1.651]).double()
    bench = analytic(registry, "bfgs", lambda x: torch.cos(x).sum(), start, line_search="exact")
    assert bench.step()["skipped"] == 1
    assert "inverse" not in bench.stepper.state_dict()


def test_negative_curvature_along_the_line_falls_back_to_wolfes_conditions(registry: Registry) -> None:
    for name in ("bfgs", "lbfgs"):
        bench = analytic(
            registry, name, lambda x: torch.cos(x).sum(), torch.tensor([0.1]).double(), line_search="exact"
        )
        bench.step(8)
        assert bench.loss == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize(("start", "lr", "first"), [((3.0, 4.0), 1.0, 0.2), ((3.0, 4.0), 0.75, 0.15),
                                                    ((0.03, 0.04), 1.0, 1.0)])  # fmt: skip
def test_the_first_trial_of_bfgs_is_no_longer_than_one(
    registry: Registry, start: tuple[float, float], lr: float, first: float
) -> None:
    """On 1/2 |x|^2 each of these trials meets the conditions at once; from the second step on the trial is lr."""
    x = torch.tensor(start).double()
    bench = analytic(registry, "bfgs", lambda x: 0.5 * x @ x, x, lr=lr)
    assert bench.step()["step_length"] == pytest.approx(first, rel=1e-12)
    torch.testing.assert_close(bench.w, (1 - first) * x, rtol=1e-12, atol=1e-15)
    assert bench.objective.counts.gradient_evaluations == 2
    if first < 1:
        assert bench.step()["step_length"] == lr


def test_bfgs_refuses_a_network_that_is_too_large(registry: Registry) -> None:
    with pytest.raises(
        UserError, match=r"bfgs keeps a dense matrix with a row for each of 99 parameters, .* max_parameters = 50"
    ):
        Bench(registry, "bfgs", problem(), network(), max_parameters=50)


# --- L-BFGS


@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_the_two_loops_multiply_with_the_dense_matrix_of_the_same_pairs(pairs: int) -> None:
    """Nocedal & Wright, equation 6.17, from s'y / y'y I with the newest pair."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((8, 8))
    steps = rng.standard_normal((pairs, 8))
    # of a matrix that changes, as that of a function that is no quadratic
    changes = np.stack([(root @ root.T + place * np.eye(8)) @ s for place, s in enumerate(steps)])
    s, y = steps[-1], changes[-1]
    h = (s @ y) / (y @ y) * np.eye(8)
    for s, y in zip(steps, changes, strict=True):
        v = np.eye(8) - np.outer(s, y) / (s @ y)
        h = v @ h @ v.T + np.outer(s, s) / (s @ y)
    g = rng.standard_normal(8)
    np.testing.assert_allclose(two_loop(g, list(zip(steps, changes, strict=True))), h @ g, rtol=1e-10)
    found = two_loop(torch.from_numpy(g), [(torch.from_numpy(s), torch.from_numpy(y)) for s, y in
                                           zip(steps, changes, strict=True)])  # fmt: skip
    np.testing.assert_allclose(found, h @ g, rtol=1e-10)
    assert two_loop(g, []) is g


def conjugate_gradient_iterates(hessian: Vector, g: Vector, x: Vector, steps: int) -> list[Vector]:
    """Of 1/2 (x - x*)'H(x - x*), by Fletcher and Reeves' form, from a gradient at x."""
    found, d = [], -g
    for _ in range(steps):
        alpha = (g @ g) / (d @ hessian @ d)
        x = x + alpha * d
        new = g + alpha * hessian @ d
        d = -new + (new @ new) / (g @ g) * d
        g = new
        found.append(x)
    return found


@every_quadratic
@pytest.mark.parametrize("memory", [1, 10])
def test_lbfgs_with_exact_steps_is_conjugate_gradients(registry: Registry, dim: int, kappa: float, memory: int) -> None:
    """A4. Rounding parts the two at a rate that grows with kappa: ten steps agree to 1e-8 of the distance."""
    bench, hessian = quadratic(registry, "lbfgs", dim, kappa, line_search="exact", history_size=memory, max_iter=1)
    start = bench.w.numpy()
    gradient = bench.problem.gradient(bench.w).numpy()  # type: ignore[attr-defined]
    for expected in conjugate_gradient_iterates(hessian.numpy(), gradient, start, 10):
        bench.step()
        assert np.linalg.norm(bench.w.numpy() - expected) < 1e-8 * np.linalg.norm(expected - start)


@every_quadratic
@pytest.mark.parametrize("memory", [1, 10])
def test_lbfgs_with_exact_steps_ends_in_d_steps_where_digits_suffice(
    registry: Registry, dim: int, kappa: float, memory: int
) -> None:
    """A4 in 200 digits, by the optimizer's own two loops."""
    bench, hessian = quadratic(registry, "lbfgs", dim, kappa)
    with mpmath.workdps(200):
        h = np.array([[mpmath.mpf(v) for v in row] for row in hessian.tolist()])
        offset = np.array([mpmath.mpf(v) for v in (bench.w - bench.problem.minimizers[0]).tolist()])  # type: ignore[attr-defined]
        first = value = offset @ h @ offset
        pairs: list[tuple[object, object]] = []
        g = h @ offset
        for step in range(dim):
            assert value > mpmath.mpf(10) ** -60 * first, f"ended after {step} steps already"
            d = -two_loop(g, pairs)
            hd = h @ d
            s = -(g @ d) / (d @ hd) * d
            offset = offset + s
            new = h @ offset
            pairs = [*pairs, (s, new - g)][-memory:]
            g, value = new, offset @ h @ offset
        assert value < mpmath.mpf(10) ** -100 * first


EXCESS = {(20, 1): 23, (20, 10): 21, (50, 1): 67, (50, 10): 69}
"""Exact steps to 1e-10 of the first value in float64, found with torch 2.13; strong Wolfe took 72, 49, 215 and 144."""


@every_quadratic
@pytest.mark.parametrize("memory", [1, 10])
def test_lbfgs_in_float64_needs_more_than_d_steps_and_strong_wolfe_more_than_exact_ones(
    registry: Registry, dim: int, kappa: float, memory: int
) -> None:
    steps = {}
    for search in ("exact", "strong-wolfe"):
        bench, _ = quadratic(registry, "lbfgs", dim, kappa, line_search=search, history_size=memory, max_iter=1)
        first = bench.loss
        while bench.loss > 1e-10 * first:
            bench.step()
            assert bench.at < 10 * dim, "stalled"
        steps[search] = bench.at
    # other processors round otherwise
    assert abs(steps["exact"] - EXCESS[dim, memory]) <= 0.2 * dim
    assert steps["strong-wolfe"] > steps["exact"]


@pytest.mark.parametrize("dim", [2, 3])
def test_lbfgs_minimises_rosenbrock_at_its_defaults(registry: Registry, dim: int) -> None:
    bench = analytic(registry, "lbfgs", "rosenbrock", options={"dim": dim})
    bench.step(30)
    assert bench.loss < 1e-20


# --- all


@pytest.mark.parametrize("name", ["bfgs", "lbfgs"])
@pytest.mark.parametrize("search", ["exact", "strong-wolfe"])
def test_continues_from_its_state(registry: Registry, name: str, search: str) -> None:
    h = {"line_search": search}
    bench = Bench(registry, name, problem(), network(), batch=16, **h)
    bench.step(3)
    again = Bench(registry, name, problem(), network(), batch=16, **h)
    again.module.load_state_dict(bench.module.state_dict())
    again.stepper.load_state_dict(copy.deepcopy(bench.stepper.state_dict()))
    again.at = 3
    bench.step(3)
    again.step(3)
    assert same(list(bench.module.state_dict().values()), list(again.module.state_dict().values()))


def test_a_gradient_that_is_no_number_diverges(registry: Registry) -> None:
    bench = analytic(registry, "bfgs", lambda x: (x * torch.nan).sum(), torch.ones(2).double())
    with pytest.raises(Diverged, match="the gradient is not finite"):
        bench.step()


def test_a_direction_past_what_numbers_can_hold_diverges(registry: Registry) -> None:
    bench = analytic(registry, "bfgs", lambda x: 1e200 * x @ x, torch.full((2,), 1e3).double())
    with pytest.raises(Diverged, match="not finite"):
        bench.step()
