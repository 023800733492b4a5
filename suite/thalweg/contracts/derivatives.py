"""Makes derivatives right that go beyond the gradient, and finds networks where they would be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


def math_attention() -> AbstractContextManager[None]:
    """While active, torch computes attention by its plain formula, softmax(Q K' / sqrt(d)) V, operation by operation.

    The fused kernels of attention have no forward mode, and their gradient cannot be differentiated. The plain formula
    has both, and its values differ by rounding. This holds for ``scaled_dot_product_attention`` and modules built on
    it, such as ``nn.MultiheadAttention``. It is enough for Jacobian products, and so for GGN and Fisher matrix.
    """
    return sdpa_kernel(SDPBackend.MATH)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """While active, second derivatives in the weights are right for attention and weight normalisation too.

    In its second derivative, the fused kernel of weight normalisation, g v / ||v||, takes ||v|| for a constant. While
    this context is active, torch computes the formula operation by operation.
    """
    with math_attention(), _PlainWeightNorm():
        yield


class _PlainWeightNorm(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return (_weight_norm if func is torch._weight_norm else func)(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """g v / ||v||, the norm over all dimensions but one."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


ONCE = {
    # what once_differentiable puts behind the result of a backward pass
    "torch::autograd::Error": "an operation of the network is marked once_differentiable, so there are no second "
    "derivatives: write its backward pass in differentiable operations"
}
"""Nodes of a graph that ``torch.autograd.grad`` silently takes for constant, each with the remedy."""

WRONG_IN_WEIGHTS = {
    "WeightNormInterfaceBackward0": "torch's second derivatives of weight normalisation are wrong: run the forward "
    "pass under thalweg.contracts.derivatives.twice_differentiable"
}
"""Nodes whose second derivative in the weights is wrong, each with the remedy. GGN and Fisher matrix need none."""


def check_differentiable(gradients: Iterable[Tensor], wrong: Mapping[str, str]) -> None:
    """ValueError where the graph of the gradients has one of the ``wrong`` nodes."""
    waiting = [gradient.grad_fn for gradient in gradients if gradient.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name() in wrong:
            raise ValueError(wrong[node.name()])
        before = {one for one, _ in node.next_functions if one is not None} - seen
        seen |= before
        waiting.extend(before)
