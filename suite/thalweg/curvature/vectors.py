"""One vector for all parameters, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers in one vector (P,), in order; differentiable."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def pieces(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A vector (P,) cut into tensors shaped as those in ``like``: the inverse of ``flat``, without copying.

    >>> [tuple(piece.shape) for piece in pieces(torch.zeros(7), [torch.ones(2, 3), torch.ones(1)])]
    [(2, 3), (1,)]
    """
    parts = torch.split(vector, [tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
