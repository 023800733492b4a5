"""What every operation of a program has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Layer(ABC):
    """An operation on activations."""

    fresh = True
    """Whether the result is new memory that the layer's way back does not need. The next layer may write there."""
    trains = False
    """Whether a weight of the layer gets a gradient."""

    @abstractmethod
    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The result; with ``train`` in training mode, with what ``backward`` needs kept."""

    @abstractmethod
    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """Write the gradients of the weights, and give those of the inputs, from the gradient g of the result.

        Args:
            g: the gradient of the result, which may be overwritten.
            wanted: whether the inputs' gradients are of use; None may stand for them otherwise.
        """


def is_of(layer: object, kind: type[nn.Module]) -> bool:
    """Whether a module computes what torch's class computes."""
    return isinstance(layer, kind) and type(layer).forward is kind.forward


def padding_of(layer: Any) -> list[int]:
    """The padding of each side of a convolution as numbers."""
    if layer.padding == "valid":
        return [0] * len(layer.kernel_size)
    if layer.padding == "same":
        return [d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return list(layer.padding)


def pads_evenly(layer: Any) -> bool:
    """Whether a convolution pads zeros, and equally many at both ends."""
    if layer.padding_mode != "zeros":
        return False
    return layer.padding != "same" or not any(
        d * (k - 1) % 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)
    )
