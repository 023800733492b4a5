"""Analytic problems against their formulas, differentiated symbolically."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from sympy import Expr, Matrix, Symbol

from thalweg.contracts import Draw, LoadContext, Shape
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.curvature import Hessian
from thalweg.errors import UserError
from thalweg.registry import Registry

Formula = Callable[[list[Symbol]], Expr]


def rosenbrock(x: list[Symbol]) -> Expr:
    return sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))


def beale(x: list[Symbol]) -> Expr:
    a, b = x
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def rastrigin(x: list[Symbol]) -> Expr:
    return 10 * len(x) + sum(a**2 - 10 * sympy.cos(2 * sympy.pi * a) for a in x)


def styblinski_tang(x: list[Symbol]) -> Expr:
    return sum(a**4 - 16 * a**2 + 5 * a for a in x) / 2


def saddle(x: list[Symbol]) -> Expr:
    c = sympy.Float(0.3)
    return sum((a**2 - c) ** 2 for a in x[:2]) / 4 + sum(a**2 for a in x[2:]) / 2


CASES: list[tuple[str, dict[str, Any], Formula]] = [
    ("rosenbrock", {"dim": 2}, rosenbrock),
    ("rosenbrock", {"dim": 5}, rosenbrock),
    ("beale", {}, beale),
    ("rastrigin", {"dim": 3}, rastrigin),
    ("styblinski-tang", {"dim": 3}, styblinski_tang),
    ("saddle", {"dim": 4, "descending": 2, "curvature": 0.3}, saddle),
]


def load(registry: Registry, name: str, given: dict[str, Any]) -> tuple[AnalyticFunction, int]:
    problem = registry.problem(name)
    options = resolve(problem.options, given, name)
    loaded = problem.load(options, LoadContext(torch.device("cpu"), torch.float64))
    assert isinstance(loaded, AnalyticFunction)
    return loaded, problem.shape(options).output[0]


def at(registry: Registry, loaded: AnalyticFunction, point: torch.Tensor) -> Objective:
    """The objective as an optimizer sees it."""
    module = registry.architecture("point").build({"tensors": 1}, Shape("function", (), (len(point),))).double()
    (x,) = module.parameters()
    with torch.no_grad():
        x.copy_(point)
    objective = Objective(module, loaded, Draw(0, None))
    objective.begin_step(loaded.batch("train", 0, Draw(0, None)), 0)
    return objective


@pytest.mark.parametrize(("name", "given", "formula"), CASES, ids=[f"{name}-{given}" for name, given, _ in CASES])
def test_value_gradient_and_hessian_are_those_of_the_formula(
    registry: Registry, name: str, given: dict[str, Any], formula: Formula
) -> None:
    """To 1e-8, relative and absolute: what an optimizer sees, and the closed forms that the problem declares."""
    loaded, dim = load(registry, name, given)
    x = list(sympy.symbols(f"x0:{dim}"))
    f = formula(x)
    gradient = Matrix([f.diff(a) for a in x])
    compiled = [sympy.lambdify([x], item, "numpy") for item in (f, gradient, sympy.hessian(f, x))]
    random = np.random.default_rng(0)
    for point in (loaded.start(torch.Generator().manual_seed(3)), torch.from_numpy(random.uniform(-2, 2, dim))):
        value, slope, curvature = (torch.as_tensor(np.asarray(g(point.numpy()), float)) for g in compiled)
        objective = at(registry, loaded, point)
        loss, (seen,) = objective.gradient()
        torch.testing.assert_close(loss, value.squeeze(), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(seen, slope.flatten(), rtol=1e-8, atol=1e-8)
        columns = list(Hessian(objective).dense())
        torch.testing.assert_close(torch.stack(columns), curvature, rtol=1e-8, atol=1e-8)
        assert loaded.gradient is not None
        assert loaded.hessian is not None
        torch.testing.assert_close(loaded.gradient(point), slope.flatten(), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(loaded.hessian(point), curvature, rtol=1e-8, atol=1e-8)


def test_a_deep_linear_network_is_the_loss_of_its_product(registry: Registry) -> None:
    """Value by numpy; gradient and Hessian by central differences in steps of 1e-4: exact to h^2 f''''."""
    loaded, size = load(registry, "deep-linear-network", {"dim": 2, "depth": 3})
    assert size == 12
    target = loaded.minimizers[0].view(3, 2, 2)[2].numpy()
    np.testing.assert_allclose(np.linalg.svd(target)[1], [1, 0.5], rtol=1e-12)

    def f(x: np.ndarray[Any, Any]) -> float:
        w = x.reshape(3, 2, 2)
        return float(0.5 * np.sum((w[2] @ w[1] @ w[0] - target) ** 2))

    point = np.random.default_rng(1).normal(size=12)
    x = torch.from_numpy(point)
    assert float(loaded.f(x)) == pytest.approx(f(point), rel=1e-12)
    assert loaded.gradient is not None
    assert loaded.hessian is not None
    h, e = 1e-4, np.eye(12)
    gradient = [(f(point + h * a) - f(point - h * a)) / (2 * h) for a in e]
    np.testing.assert_allclose(loaded.gradient(x).numpy(), gradient, atol=1e-5)
    slopes = [
        (loaded.gradient(x + h * torch.from_numpy(a)) - loaded.gradient(x - h * torch.from_numpy(a))) / (2 * h)
        for a in e
    ]
    np.testing.assert_allclose(loaded.hessian(x).numpy(), torch.stack(slopes).numpy(), atol=1e-5)
    objective = at(registry, loaded, x)
    torch.testing.assert_close(objective.gradient()[1][0], loaded.gradient(x), rtol=1e-8, atol=1e-8)
    columns = list(Hessian(objective).dense())
    torch.testing.assert_close(torch.stack(columns), loaded.hessian(x), rtol=1e-8, atol=1e-8)


def test_the_deep_linear_network_agrees_with_the_architecture(registry: Registry) -> None:
    """Regression of A x on whitened inputs x by the architecture deep-linear has the same loss."""
    loaded, _ = load(registry, "deep-linear-network", {"dim": 3, "depth": 3})
    weights = loaded.start(torch.Generator().manual_seed(0)).view(3, 3, 3)
    architecture = registry.architecture("deep-linear")
    options = resolve(architecture.options, {"depth": 2, "width": 3}, "x")
    module = architecture.build(options, Shape("regression", (3,), (3,))).double()
    with torch.no_grad():
        for parameter, matrix in zip(module.parameters(), weights, strict=True):
            parameter.copy_(matrix)
    inputs = torch.eye(3, dtype=torch.float64)
    targets = inputs @ loaded.minimizers[0].view(3, 3, 3)[2].T
    loss = 0.5 * (module(inputs) - targets).square().sum()
    torch.testing.assert_close(loss, loaded.f(weights.reshape(-1)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "minimum", "where"),
    [
        ("rosenbrock", 0.0, [1.0, 1.0]),
        ("beale", 0.0, [3.0, 0.5]),
        ("rastrigin", 0.0, [0.0, 0.0]),
        ("styblinski-tang", -78.33233, [-2.903534, -2.903534]),
        ("saddle", 0.0, [0.1**0.5, 0.0]),
    ],
)
def test_the_known_minimum_is_the_literatures(
    registry: Registry, name: str, minimum: float, where: list[float]
) -> None:
    loaded, _ = load(registry, name, {})
    assert loaded.minimum == pytest.approx(minimum, abs=1e-4)
    assert loaded.minimizers[0].tolist() == pytest.approx(where, abs=1e-5)
    assert float(loaded.f(loaded.minimizers[0])) == pytest.approx(loaded.minimum, abs=1e-12)


def test_the_saddle_is_strict_and_the_start_lies_near_its_ridge(registry: Registry) -> None:
    loaded, _ = load(registry, "saddle", {"dim": 5, "descending": 2, "offset": 1e-4})
    assert loaded.hessian is not None
    eigenvalues = torch.linalg.eigvalsh(loaded.hessian(torch.zeros(5, dtype=torch.float64)))
    torch.testing.assert_close(eigenvalues, torch.tensor([-0.1, -0.1, 1, 1, 1]).double(), rtol=0, atol=1e-7)
    starts = torch.stack([loaded.start(torch.Generator().manual_seed(seed)) for seed in range(50)])
    assert starts[:, :2].abs().max() < 1e-3
    assert starts[:, 2:].std() > 0.8


def test_every_seed_has_its_own_start(registry: Registry) -> None:
    for name in ("rosenbrock", "beale", "rastrigin", "styblinski-tang", "saddle", "deep-linear-network", "quadratic"):
        loaded, _ = load(registry, name, {})
        first, again, other = (loaded.start(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("given", "eigenvalues"),
    [
        ({"dim": 4, "kappa": 27.0}, [1, 3, 9, 27]),
        ({"dim": 4, "kappa": 10.0, "spectrum": "arithmetic"}, [1, 4, 7, 10]),
        ({"dim": 5, "kappa": 8.0, "spectrum": "two-values"}, [1, 1, 1, 8, 8]),
        ({"spectrum": "given", "eigenvalues": (0.5, 2.0, 7.0)}, [0.5, 2, 7]),
    ],
)
@pytest.mark.parametrize("rotation", ["random", "none", "pairs"])
def test_a_quadratic_has_the_spectrum_asked_for(
    registry: Registry, given: dict[str, Any], eigenvalues: list[float], rotation: str
) -> None:
    loaded, dim = load(registry, "quadratic", {**given, "rotation": rotation})
    assert dim == len(eigenvalues)
    assert loaded.hessian is not None
    hessian = loaded.hessian(torch.zeros(dim, dtype=torch.float64))
    torch.testing.assert_close(
        torch.linalg.eigvalsh(hessian), torch.tensor(eigenvalues).double(), rtol=1e-12, atol=1e-12
    )
    if rotation == "none":
        assert torch.equal(hessian, torch.diag(hessian.diagonal()))
    if rotation == "pairs":
        # the steepest and the flattest variable turned by 45 degrees into each other
        mean, half = (eigenvalues[0] + eigenvalues[-1]) / 2, (eigenvalues[-1] - eigenvalues[0]) / 2
        assert hessian[0, 0].item() == pytest.approx(mean)
        assert abs(hessian[0, -1].item()) == pytest.approx(half)


def test_a_saddle_of_more_directions_than_there_are_is_refused(registry: Registry) -> None:
    problem = registry.problem("saddle")
    with pytest.raises(UserError, match="descending = 3 is more than dim = 2"):
        problem.shape(resolve(problem.options, {"descending": 3}, "saddle"))
