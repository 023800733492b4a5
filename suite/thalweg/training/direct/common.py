"""Operations of K members without weights. Derivatives are torch's own kernels, which autograd calls too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from thalweg.training.direct.layer import Changes, Layer, is_of, total

aten = torch.ops.aten

BLOCK = 64
"""The most numbers that a kernel takes at once. Other instructions compute the numbers left over at the end, whose last
bit may differ."""


class Elementwise(Layer):
    """f(x) of each number, with f'(x) g from f(x) or from x.

    Args:
        function: f.
        in_place: f into the memory of x; None where torch has no such form.
        derivative: f'(x) g, from g and x, or from g and f(x) where ``of_result``.
        of_result: whether the derivative is computed from f(x). Then ``in_place`` is given.
        exact: whether f and the derivative are exact, so that their bits cannot depend on instructions.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        in_place: Callable[[Tensor], Tensor] | None,
        derivative: Callable[[Tensor, Tensor], Tensor],
        of_result: bool,
        exact: bool = False,
    ) -> None:
        self.fresh = not of_result
        self._function, self._in_place, self._derivative = function, in_place, derivative
        self._of_result, self._exact = of_result, exact
        self.overwrites = False
        """Whether the input may be overwritten; the program says so."""
        self.members, self.channels = 1, False
        """K, and whether activations are channels (N, K C, ...); the graph says so."""
        self._kept: list[Tensor] = []

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """f(x), in the memory of x where that is allowed."""
        (x,) = inputs
        self._kept = []
        if self._exact or self.members == 1 or (x.numel() // self.members) % BLOCK == 0:
            y = self._function(x) if self._in_place is None or not self.overwrites else self._in_place(x)
            self._kept = [y if self._of_result else x] if train else []
            return y
        parts = self._parts(x)
        results = [self._function(part) for part in parts]
        self._kept = (results if self._of_result else parts) if train else []
        return self._whole(results)

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """f'(x) g."""
        if not wanted:
            return (None,)
        if len(self._kept) == 1:
            return (self._derivative(g.contiguous(), self._kept[0]).view(g.shape),)
        pairs = zip(self._parts(g), self._kept, strict=True)
        return (self._whole([self._derivative(part, kept) for part, kept in pairs]),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """f'(x) t, as for a gradient."""
        (t,) = inputs
        return None if t is None else self.backward(t, True)[0]

    def _parts(self, tensor: Tensor) -> list[Tensor]:
        """Each member's numbers by themselves, so that none of them is left over because of another member."""
        parts = tensor.chunk(self.members, 1) if self.channels else tensor.unbind()
        return [part.contiguous() for part in parts]

    def _whole(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1) if self.channels else torch.stack(parts)


def _relu_back(g: Tensor, y: Tensor) -> Tensor:
    back: Tensor = aten.threshold_backward(g, y, 0)
    return back


def elementwise(layer: Any) -> Elementwise | None:
    """An activation of torch as a layer; None for other modules."""
    if is_of(layer, nn.ReLU):
        return Elementwise(torch.relu, torch.relu_, _relu_back, of_result=True, exact=True)
    simple: dict[type[nn.Module], tuple[Any, Any, Any]] = {
        nn.Tanh: (torch.tanh, torch.tanh_, aten.tanh_backward),
        nn.Sigmoid: (torch.sigmoid, torch.sigmoid_, aten.sigmoid_backward),
    }
    for kind, functions in simple.items():
        if is_of(layer, kind):
            return Elementwise(*functions, of_result=True)
    own: dict[type[nn.Module], Callable[[Tensor, Tensor], Tensor]] = {
        nn.GELU: lambda g, x: aten.gelu_backward(g, x, approximate=layer.approximate),
        nn.SiLU: lambda g, x: aten.silu_backward(g, x),
        nn.ELU: lambda g, x: aten.elu_backward(g, layer.alpha, 1, 1, False, x),
        nn.LeakyReLU: lambda g, x: aten.leaky_relu_backward(g, x, layer.negative_slope, False),
        nn.Softplus: lambda g, x: aten.softplus_backward(g, x, layer.beta, layer.threshold),
    }
    for kind, derivative in own.items():
        if is_of(layer, kind) and not getattr(layer, "inplace", False):
            return Elementwise(lambda x: layer(x), None, derivative, of_result=False)
    return None


class Same(Layer):
    """The identity, and changes of shape or layout: g goes back by ``back``."""

    fresh = False

    def __init__(
        self, function: Callable[[Tensor], Tensor], back: Callable[[Tensor, torch.Size], Tensor] | None = None
    ) -> None:
        self._function, self._back = function, back
        self._shape: torch.Size | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The input in another shape."""
        self._shape = inputs[0].shape
        return self._function(inputs[0])

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """g in the input's shape."""
        assert self._shape is not None
        return (g if self._back is None else self._back(g, self._shape),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The change in the result's shape."""
        (t,) = inputs
        return None if t is None else self._function(t)


class Add(Layer):
    """a + alpha b, where the product is rounded by itself, so that all instructions give equal bits."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The sum."""
        first, second = inputs
        return torch.add(first, second if self.alpha == 1 else second * self.alpha)

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """g, and alpha g in memory of its own."""
        return g, g * self.alpha

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The sum of the changes."""
        first, second = inputs
        return total(first, None if second is None else second * self.alpha)


class Subsample(Layer):
    """Every ``stride``-th pixel, and zeros as further channels: (N, K C, H, W) to (N, K C', H', W')."""

    def __init__(self, members: int, strides: tuple[int, ...], extra: tuple[int, int]) -> None:
        self._members, self._strides, self._extra = members, strides, extra
        self._pixels: Any = (..., *(slice(None, None, stride) for stride in strides))
        self._shape: torch.Size | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The pixels, in channels of each member."""
        (x,) = inputs
        self._shape = x.shape
        x = x.view(len(x), self._members, -1, *x.shape[2:])
        x = x[self._pixels]
        return functional.pad(x, (0, 0) * len(self._strides) + self._extra).flatten(1, 2)

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """The gradient at the pixels, zeros between."""
        assert self._shape is not None
        n, channels, *sides = self._shape
        first = self._extra[0]
        g = g.view(len(g), self._members, -1, *g.shape[2:])[:, :, first : first + channels // self._members]
        if all(stride == 1 for stride in self._strides):
            return (g.reshape(self._shape),)
        back = g.new_zeros(n, self._members, channels // self._members, *sides)
        back[self._pixels] = g
        return (back.view(self._shape),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The change at the pixels."""
        (t,) = inputs
        return None if t is None else self.forward(t, train=True)


class MaxPool(Layer):
    """The maximum of each window of one or two dimensions."""

    def __init__(self, layer: Any, dimensions: int) -> None:
        self._flat = dimensions == 1
        kernel, stride, padding, dilation = (
            self._sides(value, filler)
            for value, filler in (
                (layer.kernel_size, 1), (layer.stride, 1), (layer.padding, 0), (layer.dilation, 1),
            )
        )  # fmt: skip
        self._how = (kernel, stride, padding, dilation, bool(layer.ceil_mode))
        self._kept: tuple[Tensor, Tensor] | None = None

    def _sides(self, value: Any, filler: int) -> list[int]:
        numbers = list(value) if isinstance(value, tuple | list) else [value] * (1 if self._flat else 2)
        return [filler, *numbers] if self._flat else numbers

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The maxima. torch looks for them ten times faster where the channels are next to each other."""
        x = inputs[0].unsqueeze(-2) if self._flat else inputs[0]
        out, at = aten.max_pool2d_with_indices(x.contiguous(memory_format=torch.channels_last), *self._how)
        if train:
            self._kept = x, at.contiguous()
        maxima: Tensor = out.contiguous()
        return maxima.squeeze(-2) if self._flat else maxima

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """g at the maxima."""
        assert self._kept is not None
        g = g.unsqueeze(-2) if self._flat else g
        back: Tensor = aten.max_pool2d_with_indices_backward(g.contiguous(), self._kept[0], *self._how, self._kept[1])
        return (back.squeeze(-2) if self._flat else back,)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The changes at the maxima."""
        (t,) = inputs
        if t is None:
            return None
        assert self._kept is not None
        at = self._kept[1]
        found = t.reshape(*at.shape[:2], -1).gather(-1, at.flatten(2)).view(at.shape)
        return found.squeeze(-2) if self._flat else found


class Mean(Layer):
    """The mean over all pixels, which stay as one: ``AdaptiveAvgPool`` to size 1."""

    def __init__(self, dimensions: int) -> None:
        self._over = list(range(-dimensions, 0))
        self._shape: torch.Size | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The mean."""
        self._shape = inputs[0].shape
        return inputs[0].mean(self._over, keepdim=True)

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """An equal share of g for each pixel."""
        assert self._shape is not None
        pixels = self._shape[self._over[0] :].numel()
        return ((g / pixels).expand(self._shape).contiguous(),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The mean of the changes."""
        (t,) = inputs
        return None if t is None else t.mean(self._over, keepdim=True)
