"""What every operation of a program has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from thalweg.contracts.stacked import Weight

Changes = Mapping[int, Tensor]
"""Changes of weights, each in the shape of its value, by the identity of its ``Weight``. All others stay."""


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

    def pulled(self, g: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs alone. The gradients of the weights stay as they are."""
        assert not self.trains
        return self.backward(g, True)

    @abstractmethod
    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The derivative of the result along changes of the inputs and of the weights, at the last pass in training.

        Args:
            inputs: a change for each input; None for no change.
            weights: the changes of weights.
        """


class Multiplying(Layer):
    """A layer that multiplies rows of its inputs by a matrix and adds a bias: y = W x + b for each row x."""

    weight: Weight
    bias: Weight | None

    @abstractmethod
    def input_rows(self) -> Tensor:
        """The inputs of the last pass in training (K, M, I), a row for each example and location."""

    @abstractmethod
    def gradient_rows(self, g: Tensor) -> Tensor:
        """The gradient of the result as rows (K, M, O)."""

    def changes(self, weights: Changes) -> tuple[Tensor | None, Tensor | None]:
        """The changes of the layer's matrix and bias; NotImplementedError where the bias alone changes."""
        matrix, bias = weights.get(id(self.weight)), weights.get(id(self.bias))
        if matrix is None and bias is not None:
            raise NotImplementedError("the derivative along a bias without its matrix")
        return matrix, bias


def total(*changes: Tensor | None) -> Tensor | None:
    """The sum of changes, in which None stands for no change."""
    found: Tensor | None = None
    for change in changes:
        found = change if found is None else found if change is None else found + change
    return found


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
