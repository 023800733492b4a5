"""Packs all parameters into one real vector, and back. A complex entry becomes two numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from thalweg.contracts.real import as_real, real_count, shaped


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers in one vector (P,), in order; differentiable."""
    return torch.cat([as_real(tensor).reshape(-1) for tensor in tensors])


def pieces(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A vector (P,) cut into tensors of the shapes in ``like``: the inverse of ``flat``.

    Real tensors are views of the vector; complex tensors are copies.

    >>> [tuple(piece.shape) for piece in pieces(torch.zeros(7), [torch.ones(2, 3), torch.ones(1)])]
    [(2, 3), (1,)]
    """
    parts = torch.split(vector, [real_count(tensor) for tensor in like])
    return [shaped(part, tensor) for part, tensor in zip(parts, like, strict=True)]
