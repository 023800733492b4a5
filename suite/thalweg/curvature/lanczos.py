"""Lanczos' method, for extreme eigenpairs and the spectral density of a matrix that is given by its products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.curvature.cg import Matvec


@dataclass(frozen=True)
class Tridiagonal:
    """The tridiagonal matrix T = V'AV after m steps of Lanczos' method, in float64 on the CPU.

    ``basis`` V' holds the Lanczos vectors as rows (m, P), if they were kept. ``remainder`` is the next off-diagonal
    number: A V = V T + remainder v e_m'. It is zero after a breakdown, when V spans an invariant subspace.
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
        """The Ritz values (m,), ascending. The outermost approach eigenvalues of A first."""
        return self._decomposed()[0]

    def errors(self) -> Tensor:
        """For each Ritz value a bound on its distance to an eigenvalue: ``|remainder s_m|``, s the eigenvector of T."""
        return (self.remainder * self._decomposed()[1][-1]).abs()

    def eigenpairs(self) -> tuple[Tensor, Tensor]:
        """The Ritz values (m,), ascending, and their unit vectors as rows (m, P); ValueError without a basis."""
        if self.basis is None:
            raise ValueError("eigenvectors need the basis: call lanczos with keep_basis=True")
        values, vectors = self._decomposed()
        return values, vectors.T.to(self.basis) @ self.basis

    def quadrature(self) -> tuple[Tensor, Tensor]:
        """Nodes (m,) and weights (m,) of the spectral density with respect to the start vector. The weights sum to one.

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
    beside: Tensor | None = None,
    scale: float = 0.0,
) -> Tridiagonal:
    """At most ``steps`` steps of Lanczos' method for a symmetric A from a start vector (P,), one product each.

    v_1 = start / ||start||; w = A v_j - beta_{j-1} v_{j-1}, alpha_j = v_j'w, w <- w - alpha_j v_j,
    beta_j = ||w||, v_{j+1} = w / beta_j, with every w made orthogonal to all earlier vectors once more, and twice where
    that leaves less than 0.7 of its length. Stops where beta_j is rounding error next to A: the vectors then span
    an invariant subspace.

    Args:
        matvec: v -> A v.
        start: shape (P,), any length but zero.
        steps: the most steps. An orthonormal basis has at most P vectors.
        keep_basis: whether the vectors are kept.
        enough: gets the matrix so far, without basis, after every tenth step, and ends the method by returning True.
        beside: orthonormal rows (m, P) of an invariant subspace. Every vector is made orthogonal to them too, so that T
            belongs to A on their orthogonal complement.
        scale: the size of A, if it is known to be larger than the products show. Rounding errors are compared with it.

    Raises:
        ValueError: there are no steps, the start is zero or not finite, or a product is not finite.

    Source: Golub & Van Loan 2013, section 10.3; "twice is enough", and when: Parlett 1998, section 6.9; Daniel, Gragg,
    Kaufman & Stewart 1976.

    >>> a = torch.diag(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))
    >>> found = lanczos(a.matmul, random_start(a[0], torch.Generator().manual_seed(0)), 10)
    >>> [round(value, 9) for value in found.eigenvalues().tolist()]
    [1.0, 2.0, 5.0]
    """
    known = 0 if beside is None else len(beside)
    if steps < 1 or known >= len(start):
        raise ValueError(f"needs a step and a direction: steps = {steps}, {known} of {len(start)} directions are known")
    steps = min(steps, len(start) - known)
    basis = start.new_zeros(known + steps, len(start))
    if beside is not None:
        basis[:known] = beside
    tiny = rounding(start)
    given, first = float(start.norm()), _orthogonal(start, basis[:known])
    length = float(first.norm())
    if not 0 < given < math.inf or length <= tiny * given:
        there = f"has length {given:g}, of which {length:g} lies beside the directions that are known"
        raise ValueError(f"Lanczos' method needs a finite start other than zero: this one {there}")
    basis[known] = first / length
    diagonal: list[float] = []
    off: list[float] = []
    largest = scale
    for j in range(known, known + steps):
        w = matvec(basis[j])
        size = float(w.norm())
        if not math.isfinite(size):
            raise ValueError(
                "a product of the curvature matrix with a vector is not finite: the loss is not smooth here"
            )
        largest = max(largest, size)
        diagonal.append(float(basis[j] @ w))
        w = torch.sub(w, basis[j], alpha=diagonal[-1])
        if off:
            w.sub_(basis[j - 1], alpha=off[-1])
        w = _orthogonal(w, basis[: j + 1])
        beta = float(w.norm())
        if beta <= tiny * largest:
            off.append(0.0)
            break
        off.append(beta)
        if enough is not None and len(off) % 10 == 0 and enough(_tridiagonal(diagonal, off, None)):
            break
        if j + 1 < known + steps:
            basis[j + 1] = w / beta
    return _tridiagonal(diagonal, off, basis[known : known + len(diagonal)] if keep_basis else None)


def rounding(like: Tensor) -> float:
    """The size of rounding errors in the precision of ``like``, as a share of the size of A."""
    return 100 * torch.finfo(like.dtype).eps


def _orthogonal(w: Tensor, rows: Tensor) -> Tensor:
    """A vector without its components along orthonormal rows.

    A pass leaves rounding errors as large as those of its input. A second pass follows where they matter: where the
    first has left less than 0.7 of the length.
    """
    for _ in range(2):
        before, w = w.norm(), torch.addmv(w, rows.T, rows @ w, alpha=-1)
        if w.norm() >= 0.7 * before:
            break
    return w


def _tridiagonal(diagonal: list[float], off: list[float], basis: Tensor | None) -> Tridiagonal:
    double = torch.float64
    return Tridiagonal(torch.tensor(diagonal, dtype=double), torch.tensor(off[:-1], dtype=double), off[-1], basis)


def random_start(like: Tensor, generator: torch.Generator) -> Tensor:
    """A standard normal vector with the shape, type and device of ``like``. The generator may be on another device."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
