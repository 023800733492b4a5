"""How large a network is: parameters, and floating-point operations of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thalweg.contracts import Architecture, Shape


@dataclass(frozen=True)
class Size:
    """The trainable parameters of a network, and the floating-point operations of one example's forward pass."""

    parameters: int
    flops: int
    """Operations in matrix products, convolutions and attention, as ``torch.utils.flop_counter`` counts them.

    A multiplication with an addition counts as two operations.
    """


def size(architecture: Architecture, options: Mapping[str, Any], shape: Shape) -> Size:
    """Count without computing, on torch's meta device, where tensors have no content.

    A module that cannot be built on the meta device, because it looks at its weights for instance, is built and run on
    the CPU. The architecture must fit the shape.
    """
    try:
        return _count(architecture, options, shape, "meta")
    except (TypeError, RuntimeError):
        return _count(architecture, options, shape, "cpu")


def _count(architecture: Architecture, options: Mapping[str, Any], shape: Shape, device: str) -> Size:
    import torch

    from thalweg.training.flops import Flops

    with torch.random.fork_rng(), torch.device(device), torch.no_grad():
        module = architecture.build(options, shape).eval()
        with Flops() as counter:
            if shape.task == "function":
                module()
            else:
                module(torch.zeros(1, *shape.input, dtype=torch.long if shape.task == "language" else None))
    return Size(sum(parameter.numel() for parameter in module.parameters()), counter.total)
