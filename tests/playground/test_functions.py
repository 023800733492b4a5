"""What the playground offers, functions on a grid, and the interpolated loss on a plane."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import RectBivariateSpline

from thalweg.errors import UserError
from thalweg.playground.choices import functions_of, optimizers_of, rates_of
from thalweg.playground.functions import ground, load_function
from thalweg.playground.plane import LeftGridError, plane_function
from thalweg.playground.requests import SIDE, Analytic, GroundRequest, Plane
from thalweg.registry import Registry, load_registry

OUTSIDE = '''
from thalweg import LoadedProblem, Metric, Option, Problem, Shape, hookimpl


class Steps(Problem):
    """A function that branches on its values, so that torch cannot map it over points."""

    name, summary, splits = "steps", "a bowl with a wall", ("train",)
    options = (Option("level", 1, "[1, inf)"), Option("size", 3, "[1, inf)"))

    def shape(self, options):
        return Shape("function", (), (options["size"],))

    def load(self, options, context):
        import torch
        from thalweg.contracts.analytic import AnalyticFunction

        def f(p):
            return p.square().sum() + (10.0 if p[0] > 1 else 0.0)

        return AnalyticFunction(f, lambda generator: torch.tensor([2.0, 0.0], dtype=torch.float64))


class Broken(Steps):
    name, summary = "broken", "raises when it is loaded"

    def load(self, options, context):
        raise RuntimeError("no function for you")


@hookimpl
def thalweg_register_problems(register):
    register(Steps)
    register(Broken)
'''


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("plugin") / "steps.py"
    path.write_text(OUTSIDE, encoding="utf-8")
    return load_registry([path])


def random_plane(n: int, m: int, log: bool = False) -> Plane:
    rng = np.random.default_rng(n + 100 * m)
    x, y = np.sort(rng.uniform(-1, 1, n)), np.sort(rng.uniform(-2, 3, m))
    losses = np.exp(rng.normal(size=(m, n)))
    return Plane(x=tuple(x), y=tuple(y), losses=tuple(map(tuple, losses.tolist())), log=log, start=(x[0], y[0]))


def test_functions_are_found_with_the_option_that_gives_two_variables(registry: Registry, outside: Registry) -> None:
    found = {name: one.options for name, one in functions_of(registry).items()}
    assert found == {
        "beale": {}, "quadratic": {"dim": 2}, "rastrigin": {}, "rosenbrock": {}, "saddle": {}, "styblinski-tang": {},
    }  # fmt: skip
    assert functions_of(outside)["steps"].options == {"size": 2}


def test_optimizers_are_those_that_fit_a_function(registry: Registry, plugin_file: Path) -> None:
    names = optimizers_of(registry)
    assert {"sgd", "adam", "lbfgs", "newton", "muon"} <= set(names)
    assert not {"kfac", "natural-gradient", "gauss-newton-cg"} & set(names)
    assert "halving" in optimizers_of(load_registry([plugin_file]))


def test_rates_run_over_the_range_that_tuning_searches(registry: Registry) -> None:
    for name, optimizer in optimizers_of(registry).items():
        found = rates_of(optimizer)
        assert found is not None, name
        rates, default = found
        values = [float(rate) for rate in rates]
        assert default in rates
        assert values == sorted(set(values)), name
        assert max(later / one for one, later in itertools.pairwise(values)) < 1.14, name
        lr = next(option for option in optimizer.options if option.name == "lr")
        if lr.search is not None:
            ends = min(lr.search.low, lr.default), max(lr.search.high, lr.default)
            assert (values[0], values[-1]) == pytest.approx(ends), name
        for value in values:
            lr.check(value, name)


def test_the_offers_import_no_torch() -> None:
    program = (
        "import sys; from thalweg.playground.choices import *; from thalweg.registry import load_registry\n"
        "r = load_registry(); assert functions_of(r) and [rates_of(one) for one in optimizers_of(r).values()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_ground_holds_start_and_minima_and_the_values_there(registry: Registry) -> None:
    """Values against the closed form, in float64; torch's vmap may round otherwise than this sum."""
    found = ground(GroundRequest(function=Analytic(problem="rosenbrock"), start=(3.0, -2.0)), registry)
    assert found.minimizers == ((1.0, 1.0),)
    assert found.minimum == 0.0
    for x, y in ((3.0, -2.0), found.start, (1.0, 1.0)):
        assert found.x[0] < x < found.x[-1]
        assert found.y[0] < y < found.y[-1]
    assert found.x[-1] - found.x[0] == pytest.approx(found.y[-1] - found.y[0])
    x, y = np.meshgrid(found.x, found.y)
    np.testing.assert_allclose(found.losses, 100 * (y - x**2) ** 2 + (1 - x) ** 2, rtol=1e-12)
    assert len(found.x) == SIDE


def test_a_function_that_cannot_be_mapped_is_evaluated_point_by_point(outside: Registry) -> None:
    found = ground(GroundRequest(function=Analytic(problem="steps", options={"size": 2})), outside)
    x, y = np.meshgrid(found.x, found.y)
    np.testing.assert_allclose(found.losses, x**2 + y**2 + 10.0 * (x > 1), rtol=1e-12)
    assert found.minimizers == ()


def test_a_problem_that_cannot_be_loaded_says_why(outside: Registry) -> None:
    with pytest.raises(UserError, match="problem 'broken': RuntimeError: no function for you"):
        load_function(Analytic(problem="broken", options={"size": 2}), outside)


@pytest.mark.parametrize("log", [False, True])
def test_a_plane_is_the_spline_of_scipy_with_its_derivatives(log: bool) -> None:
    """FITPACK's interpolant is the same spline in another basis; its rounding grows with the order, not past 1e-9."""
    plane = random_plane(12, 9, log)
    f = plane_function(plane).f
    losses = np.array(plane.losses)
    spline = RectBivariateSpline(plane.x, plane.y, np.log(losses).T if log else losses.T, s=0)
    rng = np.random.default_rng(0)
    for x, y in zip(rng.uniform(plane.x[0], plane.x[-1], 20), rng.uniform(plane.y[0], plane.y[-1], 20), strict=True):
        p = torch.tensor([x, y], dtype=torch.float64, requires_grad=True)
        s = {(a, b): float(spline(x, y, dx=a, dy=b).item()) for a in range(3) for b in range(3 - a)}
        value = math.exp(s[0, 0]) if log else s[0, 0]
        slope = np.array([s[1, 0], s[0, 1]])
        bend = np.array([[s[2, 0], s[1, 1]], [s[1, 1], s[0, 2]]])
        (gradient,) = torch.autograd.grad(f(p), p)
        hessian = torch.autograd.functional.hessian(f, p.detach())
        scale = (1 + abs(value)) * (1 + np.abs(bend).max() + np.square(slope).max())
        assert f(p).item() == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(gradient, value * slope if log else slope, rtol=0, atol=1e-9 * scale)
        exact = value * (bend + np.outer(slope, slope)) if log else bend
        np.testing.assert_allclose(hessian, exact, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("size", [(2, 3), (4, 2), (7, 5)])
def test_a_plane_goes_through_its_points_with_finite_derivatives(size: tuple[int, int]) -> None:
    plane = random_plane(*size)
    f = plane_function(plane).f
    for i, y in enumerate(plane.y):
        for j, x in enumerate(plane.x):
            p = torch.tensor([x, y], dtype=torch.float64)
            assert f(p).item() == pytest.approx(plane.losses[i][j], rel=1e-12)
            assert bool(torch.autograd.functional.hessian(f, p).isfinite().all())


@pytest.mark.parametrize("at", [(-3.0, 0.0), (0.0, 3.5), (math.nan, 0.0)])
def test_nothing_is_known_outside_of_the_grid(at: tuple[float, float]) -> None:
    with pytest.raises(LeftGridError):
        plane_function(random_plane(5, 5)).f(torch.tensor(at))


def test_the_ground_of_a_plane_is_its_grid(registry: Registry) -> None:
    plane = random_plane(5, 7)
    found = ground(GroundRequest(function=plane), registry)
    assert (found.x, found.y, found.losses, found.start) == (plane.x, plane.y, plane.losses, plane.start)
