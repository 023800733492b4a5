"""Whether a gradient can be differentiated in turn."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

_ERROR = "torch::autograd::Error"
"""The node that ``once_differentiable`` puts behind what a backward pass gives."""


def refuse_once_differentiable(gradients: Iterable[Tensor]) -> None:
    """ValueError where a part of the gradients, made with their graph, has no derivative.

    ``torch.autograd.grad`` does not meet such a node on its way to the inputs, and takes that part for constant.
    """
    waiting = [gradient.grad_fn for gradient in gradients if gradient.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name() == _ERROR:
            raise ValueError(
                "an operation of the network is marked once_differentiable, so there are no second derivatives: "
                "write its backward pass in differentiable operations"
            )
        before = {one for one, _ in node.next_functions if one is not None} - seen
        seen |= before
        waiting.extend(before)
