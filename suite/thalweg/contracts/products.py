"""Products of large matrices without a gradient, by the faster library for the size."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

ONEDNN = 2**21
"""The fewest products of numbers for which oneDNN is called in place of BLAS.

From here on the call itself costs little. On processors of AMD oneDNN takes half of MKL's time, on others as long.
"""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W' + b, for x (..., I), W (O, I) and b (O,)."""
    if x.dim() == 2 and x.is_contiguous() and weight.is_contiguous() and is_large(x, weight.T):
        return _by_onednn(x, weight, bias)
    return functional.linear(x, weight, bias)


def matmul(a: Tensor, b: Tensor, added: Tensor | None = None) -> Tensor:
    """A B for A (N, I) and B (I, O), or ``added`` (N, O), to which A B is added in place."""
    if is_large(a, b):
        found = _by_onednn(a, b.T, None)
        return found if added is None else added.add_(found)
    return a @ b if added is None else added.addmm_(a, b)


def is_large(a: Tensor, b: Tensor) -> bool:
    """Whether oneDNN multiplies A (N, I) and B (I, O)."""
    return (
        len(a) * b.numel() >= ONEDNN
        and a.dtype is b.dtype is torch.float32
        and a.device.type == "cpu"
        # oneDNN knows no stacked weights, and no rows that overlap in memory
        and not torch._C._functorch.is_batchedtensor(b)
        and _lies_in_lines(a)
        and _lies_in_lines(b)
        and torch._C._get_mkldnn_enabled()
        and _onednn_works()
    )


def _lies_in_lines(matrix: Tensor) -> bool:
    """Whether the rows of a matrix, or its columns, lie in memory one after the other."""
    (rows, columns), (down, along) = matrix.shape, matrix.stride()
    return (along == 1 and down >= columns) or (down == 1 and along >= rows)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


@cache
def _onednn_works() -> bool:
    """Whether this build of torch has oneDNN's linear layer, which is no public function, with the known arguments."""
    if not torch._C._has_mkldnn:
        return False
    x = torch.arange(12.0).view(3, 4)
    try:
        found = [_by_onednn(one, other, x[0, :3]) for one, other in ((x, x), (x.T.contiguous().T, x[:, ::1]))]
    except (AttributeError, RuntimeError, TypeError):
        return False
    return all(torch.equal(one, functional.linear(x, x, x[0, :3])) for one in found)
