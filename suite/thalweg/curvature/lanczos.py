"""Lanczos' method: the extreme eigenpairs and the spectral density of a matrix known by its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.curvature.cg import Matvec


@dataclass(frozen=True)
class Tridiagonal:
    """T = V'AV with a diagonal and an off-diagonal, of m steps of Lanczos' method; float64 on the CPU.

    ``basis`` V' holds the Lanczos vectors as rows, shape (m, P), where it was kept. ``remainder`` is the next
    off-diagonal number: A V = V T + remainder v e_m', and zero after a breakdown, when V spans an invariant subspace.
    """

    diagonal: Tensor
    """Shape (m,)."""
    off_diagonal: Tensor
    """Shape (m - 1,)."""
    remainder: float
    basis: Tensor | None = None

    def _decomposed(self) -> tuple[Tensor, Tensor]:
        beside = torch.diag(self.off_diagonal, 1)
        values, vectors = torch.linalg.eigh(torch.diag(self.diagonal) + beside + beside.T)
        return values, vectors

    def eigenvalues(self) -> Tensor:
        """The Ritz values (m,), ascending: the extreme ones approach the extreme eigenvalues of A first."""
        return self._decomposed()[0]

    def errors(self) -> Tensor:
        """For each Ritz value a bound on its distance to an eigenvalue: |remainder s_m|, s its eigenvector of T."""
        return (self.remainder * self._decomposed()[1][-1]).abs()

    def eigenpairs(self) -> tuple[Tensor, Tensor]:
        """The Ritz values (m,), ascending, and their unit vectors as rows (m, P); ValueError without a basis."""
        if self.basis is None:
            raise ValueError("eigenvectors need the basis: call lanczos with keep_basis=True")
        values, vectors = self._decomposed()
        return values, vectors.T.to(self.basis) @ self.basis

    def quadrature(self) -> tuple[Tensor, Tensor]:
        """Nodes and weights (m,) each of the spectral density seen from the start vector; the weights sum to one.

        Source: Golub & Welsch 1969; for networks: Ghorbani, Krishnan & Xiao 2019.
        """
        values, vectors = self._decomposed()
        return values, vectors[0].square()


def lanczos(
    matvec: Matvec,
    start: Tensor,
    steps: int,
    *,
    keep_basis: bool = True,
    enough: Callable[[Tridiagonal], bool] | None = None,
) -> Tridiagonal:
    """At most ``steps`` steps of Lanczos' method for a symmetric A from a start vector (P,), one product each.

    v_1 = start / ||start||; w = A v_j - beta_{j-1} v_{j-1}, alpha_j = v_j'w, w <- w - alpha_j v_j,
    beta_j = ||w||, v_{j+1} = w / beta_j, with every w made orthogonal to all earlier vectors, twice. Stops where beta_j
    is rounding error next to A: the vectors then span an invariant subspace. Where ``enough`` is given, it is shown
    what there is (without the basis) after every tenth step, and ends it by saying yes.

    Source: Golub & Van Loan 2013, section 10.3; "twice is enough": Parlett 1998, section 6.9.

    >>> a = torch.diag(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))
    >>> found = lanczos(a.matmul, random_start(a[0], torch.Generator().manual_seed(0)), 10)
    >>> [round(value, 9) for value in found.eigenvalues().tolist()]
    [1.0, 2.0, 5.0]
    """
    steps = min(steps, len(start))
    basis = start.new_zeros(steps, len(start))
    basis[0] = start / start.norm()
    diagonal: list[float] = []
    off: list[float] = []
    tiny = 100 * torch.finfo(start.dtype).eps
    largest = 0.0
    for j in range(steps):
        w = matvec(basis[j])
        largest = max(largest, float(w.norm()))
        diagonal.append(float(basis[j] @ w))
        for _ in range(2):
            w = w - (basis[: j + 1] @ w) @ basis[: j + 1]
        beta = float(w.norm())
        if beta <= tiny * largest:
            off.append(0.0)
            break
        off.append(beta)
        if enough is not None and j % 10 == 9 and enough(_tridiagonal(diagonal, off, None)):
            break
        if j + 1 < steps:
            basis[j + 1] = w / beta
    return _tridiagonal(diagonal, off, basis[: len(diagonal)] if keep_basis else None)


def _tridiagonal(diagonal: list[float], off: list[float], basis: Tensor | None) -> Tridiagonal:
    double = torch.float64
    return Tridiagonal(torch.tensor(diagonal, dtype=double), torch.tensor(off[:-1], dtype=double), off[-1], basis)


def random_start(like: Tensor, generator: torch.Generator) -> Tensor:
    """A standard normal vector shaped, typed and placed as ``like``; the generator may live on another device."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
