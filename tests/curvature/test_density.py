"""Extreme eigenpairs and spectral densities against dense linear algebra."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from thalweg.curvature import (
    extreme_eigenpairs,
    hutch_plus_plus,
    hutchinson,
    lanczos,
    quadratures,
    smoothed,
    spectral_density,
    width,
)

D = 80


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_eigenvalues(values: Tensor) -> Tensor:
    q = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator(), dtype=torch.float64)).Q
    return (q * values) @ q.T


VALUES = torch.cat([torch.linspace(-1, 1, D - 3), torch.tensor([6.0, 8.0, 20.0])]).double()
MATRIX = with_eigenvalues(VALUES)


def test_extreme_eigenpairs_are_those_of_the_dense_matrix() -> None:
    top, bottom = extreme_eigenpairs(MATRIX.matmul, MATRIX[0], 4, generator(), tolerance=1e-9)
    torch.testing.assert_close(top.eigenvalues, VALUES.flip(0)[:4], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(bottom.eigenvalues, VALUES[:4], rtol=1e-8, atol=1e-8)
    for found in (top, bottom):
        residuals = MATRIX @ found.vectors.T - found.vectors.T * found.eigenvalues
        torch.testing.assert_close(residuals.norm(dim=0), found.bounds, rtol=1e-6, atol=1e-13)
        torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(4).double(), rtol=0, atol=1e-12)


def test_bounds_hold_where_lanczos_has_not_converged() -> None:
    top, bottom = extreme_eigenpairs(MATRIX.matmul, MATRIX[0], 3, generator(), max_steps=12)
    assert float(bottom.bounds.max()) > 1e-3
    for found in (top, bottom):
        for value, bound in zip(found.eigenvalues, found.bounds, strict=True):
            assert float((VALUES - value).abs().min()) <= float(bound) + 1e-12


def test_it_stops_when_both_ends_are_good_enough() -> None:
    products = 0

    def matvec(v: Tensor) -> Tensor:
        nonlocal products
        products += 1
        return MATRIX @ v

    extreme_eigenpairs(matvec, MATRIX[0], 1, generator(), smallest=False, tolerance=1e-4)
    assert products <= 12  # ten, and one for each bound


@pytest.mark.parametrize("values", [[1.0, 100.0] * 10, [0.0] * 16 + [2.0, 3.0, 3.0, 5.0], [4.0] * 20])
def test_an_eigenvalue_is_found_as_often_as_it_is_there(values: list[float]) -> None:
    """Lanczos' method from one vector finds an eigenvalue once, so it must continue from another vector."""
    exact = torch.tensor(values, dtype=torch.float64).sort().values
    matrix = with_eigenvalues(exact)
    top, bottom = extreme_eigenpairs(matrix.matmul, matrix[0], 5, generator())
    torch.testing.assert_close(top.eigenvalues, exact.flip(0)[:5], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(bottom.eigenvalues, exact[:5], rtol=1e-10, atol=1e-10)


def test_a_product_that_is_not_finite_is_an_error() -> None:
    for matvec in (lambda v: v * math.nan, lambda v: v * math.inf):
        with pytest.raises(ValueError, match="not finite"):
            extreme_eigenpairs(matvec, MATRIX[0], 2, generator())
        with pytest.raises(ValueError, match="not finite"):
            quadratures(matvec, MATRIX[0], 3, 2, generator())


def test_the_density_over_a_basis_is_the_exact_one() -> None:
    """The mean of e'f(A)e over the unit vectors e is the trace over P: only the quadrature's error is left."""
    sigma = width(-1, 20, 50)
    runs = [lanczos(MATRIX.matmul, e, 50, keep_basis=False) for e in torch.eye(D, dtype=torch.float64)]
    found = spectral_density(runs, sigma, ends=(-1.0, 20.0))
    exact = smoothed(VALUES, torch.full((D,), 1 / D).double(), found.grid, sigma)
    # a quadrature of 50 nodes is off by about e^-8 of the kernel's peak at this width
    peak = 1 / (sigma * math.sqrt(2 * math.pi))
    assert float((found.draws.mean(0) - exact).abs().max()) < math.exp(-8) * peak
    assert float(torch.trapezoid(found.draws[0], found.grid)) == pytest.approx(1, abs=1e-4)


def test_random_starts_estimate_the_density_without_bias() -> None:
    sigma = 0.5
    found = spectral_density(quadratures(MATRIX.matmul, MATRIX[0], 50, 200, generator()), sigma, ends=(-1.0, 20.0))
    exact = smoothed(VALUES, torch.full((D,), 1 / D).double(), found.grid, sigma)
    error = found.draws.std(0) / math.sqrt(200)
    z = ((found.draws.mean(0) - exact) / error)[exact > 1e-3]
    assert float(z.abs().max()) < 4.5  # a few independent numbers, five eigenvalue groups wide


def test_a_matrix_of_one_eigenvalue_has_a_width() -> None:
    assert width(1, 3, 50) == 0.04
    assert width(2, 2, 50) == 0.04
    assert width(0, 0, 50) == 0.02
    found = spectral_density(quadratures(lambda v: 0 * v, MATRIX[0], 5, 2, generator()), width(0, 0, 5))
    assert float(found.grid[found.draws[0].argmax()]) == pytest.approx(0, abs=1e-12)


def test_intervals_cover_the_trace_as_often_as_they_say() -> None:
    exact = float(VALUES.sum())
    for method, level in ((hutchinson, 0.95), (hutch_plus_plus, 0.95)):
        hits = 0
        for seed in range(200):
            low, high = method(lambda rows: rows @ MATRIX, MATRIX[0], 30, generator(seed)).interval(level)
            hits += low <= exact <= high
        # 190 of 200 are expected, with a standard deviation of 3
        assert 178 <= hits <= 199
    one = hutchinson(lambda rows: rows @ MATRIX, MATRIX[0], 1, generator())
    assert all(math.isnan(end) for end in one.interval())
