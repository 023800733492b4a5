"""Tensors as real numbers: a complex one is its real and imaginary parts, so that no imaginary part gets lost."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
from torch import Tensor


def as_real(tensor: Tensor) -> Tensor:
    """A complex tensor (..., m) as real numbers (..., 2 m), with the two parts of each number side by side.

    The function is differentiable, and returns a real tensor unchanged. A complex number () becomes a vector (2,). A
    sparse tensor, such as the gradient of an embedding, becomes dense.

    >>> as_real(torch.tensor([1 + 2j, 3 + 4j])).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    if tensor.is_sparse:
        tensor = tensor.to_dense()
    if not tensor.is_complex():
        return tensor
    # not view_as_real, whose derivative refuses some strides under vmap
    return torch.stack([tensor.real, tensor.imag], -1).flatten(-2 if tensor.dim() else 0)


def real_count(tensor: Tensor) -> int:
    """How many real numbers a tensor is."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def real_dtype(tensors: Iterable[Tensor]) -> torch.dtype:
    """The precision of one vector of them all: the finest."""
    return functools.reduce(torch.promote_types, (tensor.dtype.to_real() for tensor in tensors))


def shaped(numbers: Tensor, like: Tensor) -> Tensor:
    """Real numbers (..., n) as tensors (..., *like.shape), complex where ``like`` is: the inverse of ``as_real``.

    The result has the precision of the numbers. It is a view where ``like`` is real and the numbers are contiguous.
    """
    lead = numbers.shape[:-1]
    if not like.is_complex():
        return numbers.reshape((*lead, *like.shape))
    # not view_as_complex, which needs numbers that begin at an even place
    return torch.complex(*numbers.reshape((*lead, *like.shape, 2)).unbind(-1))
