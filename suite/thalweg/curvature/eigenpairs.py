"""The largest and smallest eigenpairs of a matrix that is given by its products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.curvature.cg import Matvec
from thalweg.curvature.lanczos import Tridiagonal, lanczos, random_start, rounding


@dataclass(frozen=True)
class Eigenpairs:
    """Approximate eigenpairs. An eigenvalue of A lies within each bound of each approximate eigenvalue."""

    eigenvalues: Tensor
    """Shape (k,), float64 on the CPU, the outermost first."""
    vectors: Tensor
    """Orthonormal rows (k, P)."""
    bounds: Tensor
    """||A v - lambda v||, shape (k,), float64 on the CPU."""


def extreme_eigenpairs(
    matvec: Matvec,
    like: Tensor,
    k: int,
    generator: torch.Generator,
    *,
    smallest: bool = True,
    tolerance: float = 1e-6,
    max_steps: int = 200,
) -> tuple[Eigenpairs, Eigenpairs]:
    """The k largest and the k smallest eigenpairs of a symmetric A (P, P), by Lanczos' method.

    The method stops when the error bound of each pair is below ``tolerance`` times the largest ``|value|``, or after
    ``max_steps`` products. Then 2 k further products give the bounds. One run from one start finds a multiple
    eigenvalue once. When the vectors span an invariant subspace, the method goes on from a random vector orthogonal to
    the subspace, and so finds a multiple eigenvalue as often as A has it.

    The vectors are orthonormal to rounding, also where k exceeds the rank of A or an end is a null space.

    Args:
        matvec: v -> A v.
        like: a vector (P,) with the size, type and device of v.
        k: the number of pairs at either end, 1 or more; P if P is smaller.
        generator: draws the start.
        smallest: whether the smallest pairs must meet the tolerance too.
        tolerance: the relative tolerance of the bounds.
        max_steps: the most products before the bounds.

    Raises:
        ValueError: k or max_steps is less than 1, or a product is not finite.

    Source: Golub & Van Loan 2013, section 10.3; the bound: Parlett 1998, theorem 4.5.1.

    >>> a = torch.diag(torch.tensor([1.0, 2.0, 5.0, 5.0], dtype=torch.float64))
    >>> top, bottom = extreme_eigenpairs(a.matmul, a[0], 2, torch.Generator().manual_seed(0))
    >>> [round(x, 6) for x in top.eigenvalues.tolist()], [round(x, 6) for x in bottom.eigenvalues.tolist()]
    ([5.0, 5.0], [1.0, 2.0])
    """
    size = len(like)
    for name, given in (("k", k), ("max_steps", max_steps)):
        if given < 1:
            raise ValueError(f"{name} = {given}: it must be 1 or more")
    k = min(k, size)
    values = torch.zeros(0, dtype=torch.float64)
    vectors = like.new_zeros(0, size)
    scale = 0.0

    def enough(found: Tridiagonal) -> bool:
        ritz, errors = found.eigenvalues(), found.errors()
        if len(ritz) < (2 * k if smallest else k):
            return False
        ends = torch.cat([errors[-k:], errors[:k]]) if smallest else errors[-k:]
        return bool(ends.max() <= tolerance * ritz.abs().max())

    while len(values) < min(max_steps, size):
        steps = min(max_steps, size) - len(values)
        start = random_start(like, generator)
        found = lanczos(matvec, start, steps, enough=enough, beside=vectors, scale=scale)
        ritz, rows = found.eigenpairs()
        before = values
        values, vectors = torch.cat([values, ritz]), torch.cat([vectors, rows])
        scale = max(scale, float(ritz.abs().max()))
        if found.remainder or (len(before) >= k and _inside(ritz, before, k, rounding(like) * scale)):
            break
    order = values.argsort()
    top = _checked(matvec, values, vectors, order.flip(0)[:k])
    return top, _checked(matvec, values, vectors, order[:k])


def _inside(new: Tensor, old: Tensor, k: int, slack: float) -> bool:
    """Whether none of the new values is among the k largest or the k smallest."""
    ascending = old.sort().values
    return bool(new.max() <= ascending[-k] + slack and new.min() >= ascending[k - 1] - slack)


def _checked(matvec: Matvec, values: Tensor, vectors: Tensor, order: Tensor) -> Eigenpairs:
    """The pairs in a given order, with their residuals, which include the effect of rounding on the basis."""
    values, rows = values[order], vectors[order.to(vectors.device)]
    residuals = [matvec(row).double() - float(value) * row.double() for row, value in zip(rows, values, strict=True)]
    return Eigenpairs(values, rows, torch.tensor([float(r.norm()) for r in residuals], dtype=torch.float64))
