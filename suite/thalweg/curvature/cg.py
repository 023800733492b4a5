"""Conjugate gradients for a matrix that is given by its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Matvec = Callable[[Tensor], Tensor]
"""The product of a symmetric matrix with a vector (P,), such as ``operator.__matmul__``."""


@dataclass(frozen=True)
class CGResult:
    """The result of conjugate gradients.

    ``status`` says why the iteration ended: ``"converged"``, ``"max iterations"``, ``"negative curvature"`` or ``"not
    finite"``. After negative curvature, ``direction`` is a p with p'(A + damping I)p <= 0, and ``solution`` is the last
    iterate before.
    """

    solution: Tensor
    residual: Tensor
    """b - (A + damping I) x, as the recursion computes it."""
    iterations: int
    """Products with A, including the product for the residual of a ``start``."""
    status: Literal["converged", "max iterations", "negative curvature", "not finite"]
    direction: Tensor | None = None


def conjugate_gradients(
    matvec: Matvec,
    b: Tensor,
    *,
    tolerance: float = 1e-10,
    max_iterations: int | None = None,
    damping: float = 0.0,
    preconditioner: Matvec | None = None,
    start: Tensor | None = None,
) -> CGResult:
    """Solve (A + damping I) x = b for a symmetric positive definite A + damping I, b of shape (P,).

    With r = b - A x and z = M^-1 r: alpha = r'z / p'Ap, x <- x + alpha p, r <- r - alpha A p,
    p <- z + (r'z / old r'z) p. Stops where ||r|| <= tolerance ||b||.

    Args:
        matvec: v -> A v.
        b: the right-hand side.
        tolerance: relative norm of the residual.
        max_iterations: the most products; None means the dimension P.
        damping: added to the diagonal.
        preconditioner: r -> M^-1 r with a symmetric positive definite M near A.
        start: the first x; None means zero, which saves the product for the first residual.

    Source: Nocedal & Wright 2006, algorithm 5.3; the exit on negative curvature as in algorithm 7.1.

    >>> a = torch.diag(torch.tensor([1.0, 4.0]))
    >>> found = conjugate_gradients(a.matmul, torch.tensor([2.0, 4.0]), tolerance=1e-6)
    >>> found.status, found.iterations, [round(x, 5) for x in found.solution.tolist()]
    ('converged', 2, [2.0, 1.0])
    """
    limit = len(b) if max_iterations is None else max_iterations
    x = torch.zeros_like(b) if start is None else start.clone()
    r = b.clone() if start is None else b - matvec(start) - damping * start
    products = 0 if start is None else 1
    p = torch.zeros_like(b)
    old = 0.0
    target = tolerance * float(b.norm())
    while True:
        norm = float(r.norm())
        if not norm < float("inf"):
            return CGResult(x, r, products, "not finite")
        if norm <= target:
            return CGResult(x, r, products, "converged")
        if products >= limit:
            return CGResult(x, r, products, "max iterations")
        z = r if preconditioner is None else preconditioner(r)
        new = float(r @ z)
        p = z + new / old * p if old else z
        ap = matvec(p) + damping * p
        products += 1
        curvature = float(p @ ap)
        if curvature != curvature:
            return CGResult(x, r, products, "not finite")
        if curvature <= 0:
            return CGResult(x, r, products, "negative curvature", p)
        alpha = new / curvature
        x = x + alpha * p
        r = r - alpha * ap
        old = new
