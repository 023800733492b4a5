"""Eigenpairs of matrices with a null space, or with fewer directions of curvature than wanted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import GGN, extreme_eigenpairs, hutchinson, lanczos, quadratures, random_start

SEEDS = range(20)
P = 30
ORTHOGONAL = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Off-diagonals of a Gram matrix: thousands of roundings of 2e-16, hundreds of 1e-7."""

SPECTRA = {
    "rank 2": [1.0, 0.5],
    "rank 1": [3.0],
    "rank 0": [],
    "indefinite of rank 4": [2.0, 1.0, -1.0, -2.0],
    "repeated": [2.0] * 10 + [1.0] * 10,
    "one value": [2.0] * P,
    "wide": [1e8, 1.0, 1e-4],
    "full": [1.0 + i for i in range(P)],
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrix_of(values: list[float], seed: int, dtype: torch.dtype) -> Tensor:
    q = torch.linalg.qr(torch.randn(P, P, generator=generator(seed), dtype=torch.float64)).Q
    spectrum = torch.zeros(P, dtype=torch.float64)
    spectrum[: len(values)] = torch.tensor(values, dtype=torch.float64)
    return ((q * spectrum) @ q.T).to(dtype)


def off_orthonormal(rows: Tensor) -> float:
    gram = rows.double() @ rows.double().T
    return float((gram - torch.eye(len(rows)).double()).abs().max())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("k", [1, 4, 12, 100])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_vectors_are_orthonormal_and_values_those_of_the_dense_matrix(
    spectrum: str, k: int, dtype: torch.dtype
) -> None:
    for seed in SEEDS:
        matrix = matrix_of(SPECTRA[spectrum], seed, dtype)
        exact = torch.linalg.eigvalsh(matrix.double())
        top, bottom = extreme_eigenpairs(matrix.matmul, matrix[0], k, generator(seed))
        # all 30 products are taken, so only rounding next to the largest eigenvalue is left
        slack = 1000 * torch.finfo(dtype).eps * float(exact.abs().max())
        for found, expected in ((top, exact.flip(0)[:k]), (bottom, exact[:k])):
            assert off_orthonormal(found.vectors) < ORTHOGONAL[dtype]
            torch.testing.assert_close(found.eigenvalues, expected, rtol=0, atol=slack)
            assert float(found.bounds.max()) <= slack


def network_of_five_examples() -> Objective:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x = torch.randn(5, 4, generator=generator(1), dtype=torch.float64)
    data, draw = Supervised({"train": (x, torch.tensor([0, 1, 2, 0, 1]))}, CrossEntropy(), (LOSS,)), Draw(0, None)
    made = Objective(module, data, draw)
    made.begin_step(data.batch("train", 0, draw), 0)
    return made


def test_the_bottom_of_a_ggn_of_few_examples_is_zero() -> None:
    """Five examples of three classes: rank 10 at most, of 51."""
    ggn = GGN(network_of_five_examples())
    exact = torch.linalg.eigvalsh(ggn.dense())
    like = torch.zeros(ggn.size, dtype=torch.float64)
    slack = 1e-13 * float(exact[-1])  # of one product: some hundred roundings
    for seed in SEEDS:
        top, bottom = extreme_eigenpairs(ggn.__matmul__, like, 15, generator(seed))
        assert off_orthonormal(top.vectors) < 1e-12
        assert off_orthonormal(bottom.vectors) < 1e-12
        torch.testing.assert_close(top.eigenvalues, exact.flip(0)[:15], rtol=0, atol=slack)
        torch.testing.assert_close(bottom.eigenvalues, torch.zeros(15).double(), rtol=0, atol=slack)


@pytest.mark.parametrize(("k", "max_steps", "said"), [(0, 5, "k = 0"), (-1, 5, "k = -1"), (1, 0, "max_steps = 0")])
def test_no_pairs_and_no_steps_are_refused(k: int, max_steps: int, said: str) -> None:
    like = torch.zeros(P)
    with pytest.raises(ValueError, match=said):
        extreme_eigenpairs(lambda v: v, like, k, generator(0), max_steps=max_steps)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: quadratures(lambda v: v, torch.zeros(P), 0, 3, generator(0)), "steps = 0"),
        (lambda: quadratures(lambda v: v, torch.zeros(P), 3, 0, generator(0)), "draws = 0"),
        (lambda: hutchinson(lambda rows: rows, torch.zeros(P), 0, generator(0)), "samples = 0"),
        (lambda: lanczos(lambda v: v, torch.zeros(P), 3), "other than zero: this one has length 0"),
        (lambda: lanczos(lambda v: v, torch.full((P,), torch.nan), 3), "finite start"),
        (lambda: lanczos(lambda v: v, torch.full((P,), torch.inf), 3), "finite start"),
        (lambda: lanczos(lambda v: v, torch.ones(P), 0), "needs a step"),
        (lambda: lanczos(lambda v: v, torch.eye(P)[0], 3, beside=torch.eye(P)[:2]), "lies beside"),
        (lambda: lanczos(lambda v: v, torch.ones(P), 3, beside=torch.eye(P)), "30 of 30 directions"),
        (lambda: lanczos(lambda v: v * torch.nan, torch.ones(P), 3), "not finite: the loss is not smooth"),
    ],
)
def test_what_has_no_answer_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_a_run_beside_an_invariant_subspace_finds_the_rest() -> None:
    matrix = matrix_of([5.0, 4.0, 3.0, 2.0, 1.0], 0, torch.float64)
    known = torch.linalg.eigh(matrix)[1].T[-2:]
    start = random_start(matrix[0], generator(1))
    found = lanczos(matrix.matmul, start, P, beside=known, scale=5.0)
    values = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(found.eigenvalues(), values, rtol=0, atol=1e-12)
    assert found.basis is not None
    assert off_orthonormal(torch.cat([known, found.basis])) < 1e-12
