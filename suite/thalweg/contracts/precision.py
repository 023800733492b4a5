"""The precision of numbers: real ones, and complex ones of two real parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def converted(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in the precision of a real dtype. Complex numbers get two parts of it; integers are not converted.

    >>> converted(torch.ones(1, dtype=torch.complex128), torch.float32).dtype
    torch.complex64
    """
    if numbers.is_complex():
        return numbers.to(dtype.to_complex())
    return numbers.to(dtype) if numbers.is_floating_point() else numbers


def move(module: nn.Module, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
    """Move a module's parameters and buffers in place. Imaginary parts are kept; ``nn.Module.to`` drops them."""

    def moved(tensor: Tensor) -> Tensor:
        return (tensor if dtype is None else converted(tensor, dtype)).to(device)

    module._apply(moved)  # type: ignore[no-untyped-call]
