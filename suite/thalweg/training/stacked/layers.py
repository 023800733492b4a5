"""The operations of plain networks for K members at once: each goes forward, and back to gradients, without autograd.

Activations are rows (K, N, ...), or channels (N, K C, ...) between convolutions. A layer remembers what its way back
needs. Derivatives are torch's own kernels, which autograd calls too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

aten = torch.ops.aten


@dataclass
class Weight:
    """A parameter of K members."""

    value: Tensor
    """(K, ...), a view of the memory that trains."""
    gradient: Tensor | None
    """(K, ...), where the way back writes the gradient; None for a parameter that does not train."""


class Layer(ABC):
    """An operation on the activations of K members."""

    fresh = True
    """Whether the result is new memory that the layer's way back does not need. The next layer may write there."""
    weights: tuple[Weight, ...] = ()

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

    @abstractmethod
    def forget(self) -> None:
        """Let go of what ``forward`` kept."""


class Dense(Layer):
    """x W' + b: (K, N, ..., I) to (K, N, ..., O)."""

    def __init__(self, weight: Weight, bias: Weight | None) -> None:
        self.weight, self.bias = weight, bias
        self.weights = (weight,) if bias is None else (weight, bias)
        self._transposed = weight.value.transpose(1, 2)
        self._bias = None if bias is None else bias.value.unsqueeze(1)
        self._x: Tensor | None = None
        self._shape: torch.Size | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """One batched product."""
        (x,) = inputs
        rows = x if x.dim() == 3 else x.flatten(1, -2)
        rows = aligned(rows)
        out = product(rows, self._transposed, self._bias)
        if train:
            self._x, self._shape = rows, x.shape
        return out if x.dim() == 3 else out.view(*x.shape[:-1], -1)

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """g' x, the sum of g over rows, and g W."""
        assert self._x is not None
        assert self._shape is not None
        rows = aligned(g if g.dim() == 3 else g.flatten(1, -2))
        if self.weight.gradient is not None:
            self.weight.gradient.copy_(product(rows.transpose(1, 2), self._x))
        if self.bias is not None and self.bias.gradient is not None:
            torch.sum(rows, 1, out=self.bias.gradient)
        if not wanted:
            return (None,)
        back = product(rows, self.weight.value)
        return (back if g.dim() == 3 else back.view(self._shape),)

    def forget(self) -> None:
        """Let go of the inputs."""
        self._x = None


BLOCK = 64
"""Numbers that a kernel takes at once at most. It computes those that are left over at the end by other instructions,
whose last bit may differ."""

ALIGNMENT = 64
"""Bytes that the address of a member's matrix is a multiple of: a product's bits may depend on it."""


def room(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Empty memory of shape (K, ...), in which each member's part begins at a multiple of ALIGNMENT."""
    k, length = shape[0], math.prod(shape[1:])
    step = ALIGNMENT // like.element_size()
    if length % step == 0:
        return like.new_empty(shape)
    return like.new_empty(k, -(-length // step) * step)[:, :length].view(shape)


def aligned(tensor: Tensor) -> Tensor:
    """The matrices (K, N, M), or a copy in which each member's begins at a multiple of ALIGNMENT, in the same order."""
    step = ALIGNMENT // tensor.element_size()
    if (tensor.stride(0) % step == 0 or len(tensor) == 1) and tensor.storage_offset() % step == 0:
        return tensor
    if tensor.stride(1) == 1 and tensor.stride(2) != 1:  # a product's bits may also depend on the order
        return aligned(tensor.transpose(1, 2)).transpose(1, 2)
    return room(tensor, tensor.shape).copy_(tensor)


def product(one: Tensor, other: Tensor, added: Tensor | None = None) -> Tensor:
    """The products (K, N, O) of members' matrices, plus what broadcasts to them, with the bits of each member alone."""
    one, other = aligned(one), aligned(other)
    if one.shape[1] * other.shape[2] * one.element_size() % ALIGNMENT == 0:
        return torch.bmm(one, other) if added is None else torch.baddbmm(added, one, other)
    out = room(one, (len(one), one.shape[1], other.shape[2]))
    # a library computes one product of this kind otherwise than several, so each member has a call of its own
    for index in range(len(out)):
        if added is None:
            torch.mm(one[index], other[index], out=out[index])
        else:
            torch.addmm(added[index], one[index], other[index], out=out[index])
    return out


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

    def _parts(self, tensor: Tensor) -> list[Tensor]:
        """Each member's numbers by themselves, so that none of them is left over because of another member."""
        parts = tensor.chunk(self.members, 1) if self.channels else tensor.unbind()
        return [part.contiguous() for part in parts]

    def _whole(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1) if self.channels else torch.stack(parts)

    def forget(self) -> None:
        """Let go of the activations."""
        self._kept = []


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


def is_of(layer: object, kind: type[nn.Module]) -> bool:
    """Whether a module computes what torch's class computes."""
    return isinstance(layer, kind) and type(layer).forward is kind.forward


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

    def forget(self) -> None:
        """Nothing: only the shape is kept."""


class Add(Layer):
    """a + alpha b."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The sum. A product that is rounded by itself has equal bits by all instructions."""
        first, second = inputs
        return torch.add(first, second if self.alpha == 1 else second * self.alpha)

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """g, and alpha g in memory of its own."""
        return g, g * self.alpha

    def forget(self) -> None:
        """Nothing: only the shape is kept."""


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

    def forget(self) -> None:
        """Nothing: only the shape is kept."""


class Convolution(Layer):
    """One convolution whose groups are the members: (N, K C, ...) to (N, K O, ...).

    oneDNN computes a convolution without groups in another order than one with groups, whatever their number. So a
    single member is computed twice, as two groups, and has the bits that it has among others.
    """

    def __init__(self, weight: Weight, bias: Weight | None, layer: Any, members: int) -> None:
        self.weight, self.bias = weight, bias
        self.weights = (weight,) if bias is None else (weight, bias)
        self._twice = members == 1
        zeros = [0] * len(layer.stride)
        groups = max(2, members) * layer.groups
        self._how = list(layer.stride), _padding(layer), list(layer.dilation), False, zeros, groups
        self._x: Tensor | None = None

    def _grouped(self, tensor: Tensor, dimension: int) -> Tensor:
        return torch.cat([tensor, tensor], dimension) if self._twice else tensor

    def _first(self, tensor: Tensor, dimension: int) -> Tensor:
        return tensor.chunk(2, dimension)[0].contiguous() if self._twice else tensor

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The convolution."""
        x = self._grouped(inputs[0], 1)
        if train:
            self._x = x
        bias = None if self.bias is None else self._grouped(self.bias.value.flatten(), 0)
        weight = self._grouped(self.weight.value.flatten(0, 1), 0)
        return self._first(torch.convolution(x, weight, bias, *self._how), 1)

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """The derivatives of a convolution."""
        assert self._x is not None
        weight = self._grouped(self.weight.value.flatten(0, 1), 0)
        trains = self.weight.gradient is not None
        back, of_weight, _ = aten.convolution_backward(
            self._grouped(g, 1), self._x, weight, None, *self._how, [wanted, trains, False]
        )
        if self.weight.gradient is not None:
            self.weight.gradient.copy_(self._first(of_weight, 0).view(self.weight.gradient.shape))
        if self.bias is not None and self.bias.gradient is not None:
            summed = g.sum([0, *range(2, g.dim())])
            self.bias.gradient.copy_(summed.view(self.bias.gradient.shape))
        return (self._first(back, 1) if wanted else None,)

    def forget(self) -> None:
        """Let go of the inputs."""
        self._x = None


class Unfolded(Layer):
    """A convolution of the network's inputs as one product of each member: (K, N, C, ...) to (N, K O, ...).

    Each window becomes a column of C k numbers. For few input channels that takes less time than a convolution with
    groups, and the bits do not depend on the number of groups. The inputs get no gradient.
    """

    MOST = 75
    """Numbers of a window up to which the columns are worth their memory."""

    def __init__(self, weight: Weight, bias: Weight | None, layer: Any) -> None:
        self.weight, self.bias = weight, bias
        self.weights = (weight,) if bias is None else (weight, bias)
        self._kernel, self._stride, self._dilation = layer.kernel_size, layer.stride, layer.dilation
        self._padding = [side for side in reversed(_padding(layer)) for _ in range(2)]
        self._matrix = weight.value.flatten(2)
        self._columns: Tensor | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """W times the columns."""
        x = functional.pad(inputs[0], self._padding)
        k, n, c, *sides = x.shape
        over_k, over_n, over_c, *strides = x.stride()
        out = [
            (side - d * (width - 1) - 1) // step + 1
            for side, width, step, d in zip(sides, self._kernel, self._stride, self._dilation, strict=True)
        ]
        windows = x.as_strided(
            (k, c, *self._kernel, n, *out),
            (over_k, over_c, *(s * d for s, d in zip(strides, self._dilation, strict=True)), over_n,
             *(s * step for s, step in zip(strides, self._stride, strict=True))),
        )  # fmt: skip
        columns = aligned(windows.reshape(k, self._matrix.shape[2], -1))
        if train:
            self._columns = columns
        y = product(self._matrix, columns, None if self.bias is None else self.bias.value.unsqueeze(2))
        return y.view(k, -1, n, *out).movedim(2, 0).flatten(1, 2).contiguous()

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """g times the columns."""
        assert self._columns is not None
        k = len(self._matrix)
        rows = g.view(len(g), k, -1, *g.shape[2:]).movedim(0, 2).reshape(k, self._matrix.shape[1], -1)
        if self.weight.gradient is not None:
            self.weight.gradient.flatten(2).copy_(product(rows, self._columns.transpose(1, 2)))
        if self.bias is not None and self.bias.gradient is not None:
            torch.sum(rows, 2, out=self.bias.gradient)
        return (None,)

    def forget(self) -> None:
        """Let go of the columns."""
        self._columns = None


def _padding(layer: Any) -> list[int]:
    """The padding of each side as numbers."""
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

    def forget(self) -> None:
        """Let go of the inputs."""
        self._kept = None


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

    def forget(self) -> None:
        """Nothing: only the shape is kept."""


class BatchNorm(Layer):
    """One batch norm over all members' channels: (N, K C, ...). Running statistics advance in place."""

    def __init__(
        self, layer: Any, weight: Weight | None, bias: Weight | None, mean: Tensor, variance: Tensor, seen: Tensor
    ) -> None:
        self.weight, self.bias = weight, bias
        self.weights = tuple(one for one in (weight, bias) if one is not None)
        self._mean, self._variance, self._seen = mean.view(-1), variance.view(-1), seen
        self._momentum, self._eps = float(layer.momentum), float(layer.eps)
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The normalised activations."""
        (x,) = inputs
        if train and x.numel() == x.shape[1]:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
        if train:
            self._seen.add_(1)
        scale, shift = (None if one is None else one.value.flatten() for one in (self.weight, self.bias))
        how = (self._mean, self._variance, train, self._momentum, self._eps)
        out, mean, inverse = torch.native_batch_norm(x, scale, shift, *how)
        if train:
            self._kept = x, mean, inverse
        return out

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """The derivatives of a batch norm in training."""
        assert self._kept is not None
        x, mean, inverse = self._kept
        scale = None if self.weight is None else self.weight.value.flatten()
        trains = [one is not None and one.gradient is not None for one in (self.weight, self.bias)]
        back, *gradients = aten.native_batch_norm_backward(
            g, x, scale, None, None, mean, inverse, True, self._eps, [wanted, *trains]
        )
        for one, gradient in zip((self.weight, self.bias), gradients, strict=True):
            if one is not None and one.gradient is not None:
                one.gradient.copy_(gradient.view(one.gradient.shape))
        return (back,)

    def forget(self) -> None:
        """Let go of the inputs."""
        self._kept = None


class BatchNormOfRows(Layer):
    """Batch norm of (K, N, F) over N. Running statistics advance in place.

    With x^ = (x - m) / sqrt(v + eps), the derivative is w / sqrt(v + eps) (g - mean g - x^ mean(g x^)) (Ioffe & Szegedy
    2015). torch's kernel works on all K F channels side by side, and its bits depend on a channel's place.
    """

    def __init__(
        self, layer: Any, weight: Weight | None, bias: Weight | None, mean: Tensor, variance: Tensor, seen: Tensor
    ) -> None:
        self.weight, self.bias = weight, bias
        self.weights = tuple(one for one in (weight, bias) if one is not None)
        self._mean, self._variance, self._seen = mean, variance, seen
        self._momentum, self._eps = float(layer.momentum), float(layer.eps)
        self._kept: tuple[Tensor, Tensor] | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The normalised activations, scaled and shifted."""
        (x,) = inputs
        n = x.shape[1]
        if train:
            if n == 1:
                raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
            mean = x.mean(1, keepdim=True)
            centred = x - mean
            variance = (centred * centred).mean(1, keepdim=True)
            self._seen.add_(1)
            self._mean.mul_(1 - self._momentum).add_(mean.squeeze(1) * self._momentum)
            self._variance.mul_(1 - self._momentum).add_(variance.squeeze(1) * (self._momentum * n / (n - 1)))
        else:
            centred, variance = x - self._mean.unsqueeze(1), self._variance.unsqueeze(1)
        inverse = (variance + self._eps).rsqrt()
        normal = centred.mul_(inverse)
        if train:
            self._kept = normal, inverse
        if self.weight is None or self.bias is None:
            return normal.clone()  # x^ is kept for the way back
        return (normal * self.weight.value.unsqueeze(1)).add_(self.bias.value.unsqueeze(1))

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """The derivatives of a batch norm in training."""
        assert self._kept is not None
        normal, inverse = self._kept
        shift, scale = g.sum(1), (g * normal).sum(1)
        for one, gradient in ((self.bias, shift), (self.weight, scale)):
            if one is not None and one.gradient is not None:
                one.gradient.copy_(gradient)
        if not wanted:
            return (None,)
        factor = inverse if self.weight is None else inverse * self.weight.value.unsqueeze(1)
        shift, scale = (part.div_(g.shape[1]).unsqueeze(1) for part in (shift, scale))
        return ((g - shift).sub_(normal * scale).mul_(factor),)

    def forget(self) -> None:
        """Let go of the activations."""
        self._kept = None


class LayerNorm(Layer):
    """Layer norm over the last dimension of (K, N, ..., F), with weights of each member."""

    def __init__(self, layer: Any, weight: Weight, bias: Weight) -> None:
        self.weight, self.bias = weight, bias
        self.weights = (weight, bias)
        self._features, self._eps = list(layer.normalized_shape), float(layer.eps)
        self._kept: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def _spread(self, weight: Weight, dimensions: int) -> Tensor:
        """(K, F) as (K, 1, ..., F)."""
        return weight.value.view(len(weight.value), *[1] * (dimensions - 2), -1)

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """The normalised activations, scaled and shifted."""
        (x,) = inputs
        normal, mean, inverse = torch.native_layer_norm(x, self._features, None, None, self._eps)
        if train:
            self._kept = x, normal, mean, inverse
        return torch.addcmul(self._spread(self.bias, x.dim()), normal, self._spread(self.weight, x.dim()))

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """The derivatives of a layer norm."""
        assert self._kept is not None
        x, normal, mean, inverse = self._kept
        rows = [*range(1, g.dim() - 1)]
        if self.weight.gradient is not None:
            self.weight.gradient.copy_((g * normal).sum(rows))
        if self.bias.gradient is not None:
            self.bias.gradient.copy_(g.sum(rows))
        if not wanted:
            return (None,)
        back, *_ = aten.native_layer_norm_backward(
            g * self._spread(self.weight, g.dim()), x, self._features, mean, inverse, None, None, [True, False, False]
        )
        return (back,)

    def forget(self) -> None:
        """Let go of the activations."""
        self._kept = None
