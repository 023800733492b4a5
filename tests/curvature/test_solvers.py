"""Conjugate gradients, Lanczos' method and traces against dense linear algebra."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.objective import Objective
from thalweg.curvature import (
    GGN,
    Fisher,
    Hessian,
    TraceEstimate,
    conjugate_gradients,
    hutch_plus_plus,
    hutchinson,
    lanczos,
    linear_operator,
    rademacher,
    random_start,
)
from thalweg.testing.small import network, problem

D = 60


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_eigenvalues(values: Tensor) -> Tensor:
    q = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator(), dtype=torch.float64)).Q
    return (q * values) @ q.T


DEFINITE = with_eigenvalues(torch.logspace(0, 3, D, dtype=torch.float64))
INDEFINITE = with_eigenvalues(torch.linspace(-1, 10, D, dtype=torch.float64))
B = torch.randn(D, generator=generator(1), dtype=torch.float64)


def objective(module: nn.Module | None = None) -> Objective:
    data, draw = problem(torch.float64), Draw(0, None)
    made = Objective(module or network(torch.float64), data, draw)
    made.begin_step(data.batch("train", 0, draw), 0)
    return made


@pytest.mark.parametrize("damping", [0.0, 3.0])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_conjugate_gradients_solve(damping: float, preconditioned: bool) -> None:
    expected = torch.linalg.solve(DEFINITE + damping * torch.eye(D, dtype=torch.float64), B)
    scale = DEFINITE.diagonal() + damping
    found = conjugate_gradients(
        DEFINITE.matmul,
        B,
        tolerance=1e-13,
        max_iterations=10 * D,
        damping=damping,
        preconditioner=(lambda r: r / scale) if preconditioned else None,
    )
    assert found.status == "converged"
    assert float((found.solution - expected).norm() / expected.norm()) < 1e-10
    assert found.direction is None


def test_conjugate_gradients_start_where_they_are_told() -> None:
    exact = torch.linalg.solve(DEFINITE, B)
    found = conjugate_gradients(DEFINITE.matmul, B, start=exact)
    assert (found.status, found.iterations) == ("converged", 1)
    cold = conjugate_gradients(DEFINITE.matmul, B, tolerance=1e-6, max_iterations=500)
    warm = conjugate_gradients(DEFINITE.matmul, B, tolerance=1e-6, max_iterations=500, start=exact + 1e-4)
    assert warm.iterations < cold.iterations
    torch.testing.assert_close(warm.residual, B - DEFINITE @ warm.solution, rtol=1e-8, atol=1e-8)


def test_a_good_preconditioner_saves_iterations() -> None:
    scale = torch.logspace(0, 4, D, dtype=torch.float64)
    matrix = torch.diag(scale) + 0.1 * DEFINITE / 1000
    plain = conjugate_gradients(matrix.matmul, B, tolerance=1e-8, max_iterations=1000)
    helped = conjugate_gradients(matrix.matmul, B, tolerance=1e-8, preconditioner=lambda r: r / scale)
    assert helped.iterations < plain.iterations / 3


def test_conjugate_gradients_find_negative_curvature() -> None:
    found = conjugate_gradients(INDEFINITE.matmul, B)
    assert found.status == "negative curvature"
    assert found.direction is not None
    assert float(found.direction @ INDEFINITE @ found.direction) <= 0
    # what was reached lowers the quadratic: it is the minimum over the directions before
    assert float(0.5 * found.solution @ INDEFINITE @ found.solution - B @ found.solution) < 0
    assert conjugate_gradients(INDEFINITE.matmul, B, damping=1.1, max_iterations=500).status == "converged"
    at_once = conjugate_gradients((-DEFINITE).matmul, B)
    assert at_once.iterations == 1
    assert float(at_once.solution.norm()) == 0


def test_conjugate_gradients_say_why_they_ended() -> None:
    short = conjugate_gradients(DEFINITE.matmul, B, max_iterations=3)
    assert (short.status, short.iterations) == ("max iterations", 3)
    assert conjugate_gradients(DEFINITE.matmul, torch.zeros_like(B)).status == "converged"
    assert conjugate_gradients(lambda v: v * math.nan, B).status == "not finite"
    assert conjugate_gradients(DEFINITE.matmul, B * math.inf).status == "not finite"


def test_lanczos_finds_the_extreme_eigenpairs() -> None:
    values = torch.cat([torch.linspace(0, 1, D - 3), torch.tensor([5.0, 20.0, -4.0])]).double()
    matrix = with_eigenvalues(values)
    found = lanczos(matrix.matmul, random_start(B, generator()), 30)
    ritz, vectors = found.eigenpairs()
    exact = values.sort().values
    for at in (0, -1, -2):
        assert abs(float(ritz[at] - exact[at])) < 1e-6 * abs(float(exact[at]))
        assert float(found.errors()[at]) < 1e-6
        torch.testing.assert_close(matrix @ vectors[at], ritz[at] * vectors[at], rtol=1e-5, atol=1e-6)
    assert found.basis is not None
    torch.testing.assert_close(found.basis @ found.basis.T, torch.eye(30).double(), rtol=0, atol=1e-13)


def test_lanczos_with_every_step_has_the_whole_spectrum() -> None:
    found = lanczos(DEFINITE.matmul, random_start(B, generator()), 10 * D, keep_basis=False)
    torch.testing.assert_close(found.eigenvalues(), torch.linalg.eigvalsh(DEFINITE), rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="keep_basis"):
        found.eigenpairs()


def test_lanczos_stops_at_an_invariant_subspace() -> None:
    values = torch.tensor([1.0, 2.0, 7.0]).double().repeat(D // 3)
    found = lanczos(with_eigenvalues(values).matmul, random_start(B, generator()), 40)
    assert len(found.diagonal) == 3
    assert found.remainder == 0
    torch.testing.assert_close(found.eigenvalues(), torch.tensor([1.0, 2.0, 7.0]).double(), rtol=1e-12, atol=1e-12)
    nothing = lanczos(torch.zeros_like, B, 5)
    assert nothing.eigenvalues().tolist() == [0.0]


def test_the_quadrature_has_the_moments_of_the_matrix() -> None:
    nodes, weights = lanczos(INDEFINITE.matmul, B, 10).quadrature()
    unit = B / B.norm()
    for power in range(10):  # exact up to degree 2 m - 1
        expected = float(unit @ torch.linalg.matrix_power(INDEFINITE, power) @ unit)
        assert math.isclose(float(weights @ nodes**power), expected, rel_tol=1e-9)


def test_lanczos_on_a_network_finds_its_hessians_extreme_eigenvalues() -> None:
    hessian = Hessian(objective())
    exact = torch.linalg.eigvalsh(hessian.dense())
    found = lanczos(hessian.__matmul__, random_start(hessian.gradient, generator()), 60).eigenvalues()
    for at in (0, -1):
        assert abs(float(found[at] - exact[at])) < 1e-6 * abs(float(exact[at]))


@pytest.mark.parametrize("estimate", [hutchinson, hutch_plus_plus])
def test_traces_lie_within_their_standard_error(estimate: Callable[..., TraceEstimate]) -> None:
    operator = GGN(objective())
    exact = float(operator.dense().trace())
    like = operator.parameters[0].new_zeros(operator.size)
    found = [estimate(operator.products, like, 60, generator(seed)) for seed in range(40)]
    scores = np.array([(one.value - exact) / one.standard_error for one in found])
    # 40 near-normal scores: nearly all within three, and their mean square near one
    assert np.mean(np.abs(scores) < 3) > 0.9
    assert 0.4 < np.mean(scores**2) < 2.5
    assert all(one.products == 60 for one in found)


def test_hutch_plus_plus_is_exact_on_a_matrix_of_low_rank_and_hutchinson_is_not() -> None:
    factor = torch.randn(D, 4, generator=generator(), dtype=torch.float64)
    matrix = factor @ factor.T
    exact = float(matrix.trace())
    found = hutch_plus_plus(lambda rows: rows @ matrix, B, 15, generator())
    assert math.isclose(found.value, exact, rel_tol=1e-12)
    assert found.standard_error < 1e-10 * exact
    assert abs(hutchinson(lambda rows: rows @ matrix, B, 15, generator()).value - exact) > 1e-3 * exact
    with pytest.raises(ValueError, match="at least 3"):
        hutch_plus_plus(lambda rows: rows, B, 2, generator())
    assert math.isnan(hutchinson(lambda rows: rows, B, 1, generator()).standard_error)


def test_rademacher_vectors_are_signs_from_the_generator() -> None:
    signs = rademacher(200, B, generator())
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 4 / math.sqrt(200 * D)
    assert torch.equal(signs, rademacher(200, B, generator()))


def test_scipy_finds_the_same_largest_eigenvalue() -> None:
    operator = Fisher(objective())
    largest = scipy.sparse.linalg.eigsh(linear_operator(operator), k=1, return_eigenvectors=False)[0]
    assert math.isclose(largest, float(torch.linalg.eigvalsh(operator.dense())[-1]), rel_tol=1e-9)
