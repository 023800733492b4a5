"""The operations of plain networks for K members at once: each goes forward, and back to gradients, without autograd.

Activations are rows (K, N, ...), or channels (N, K C, ...) between convolutions. A layer remembers what its way back
needs. Derivatives are torch's own kernels, which autograd calls too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from thalweg.contracts.stacked import Weight, aligned, product
from thalweg.training.direct.common import Add, Elementwise, MaxPool, Mean, Same, Subsample, elementwise
from thalweg.training.direct.graph import Reader
from thalweg.training.direct.layer import Changes, Layer, Multiplying, is_of, padding_of, pads_evenly, total

aten = torch.ops.aten


def _trains(*weights: Weight | None) -> bool:
    return any(weight is not None and weight.gradient is not None for weight in weights)


def _check_constant(weight: Weight | None, bias: Weight | None, changes: Changes) -> None:
    """NotImplementedError where scale or shift of a norm change."""
    if id(weight) in changes or id(bias) in changes:
        raise NotImplementedError("the derivative along the scale and the shift of a norm")


def _per_channel(weight: Weight, like: Tensor) -> Tensor:
    """(K, C) as (K C, 1, ...)."""
    return weight.value.reshape(-1, *[1] * (like.dim() - 2))


class Dense(Multiplying):
    """x W' + b: (K, N, ..., I) to (K, N, ..., O)."""

    def __init__(self, weight: Weight, bias: Weight | None) -> None:
        self.weight, self.bias = weight, bias
        self.trains = _trains(weight, bias)
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
        rows = self.gradient_rows(g)
        if self.weight.gradient is not None:
            self.weight.gradient.copy_(product(rows.transpose(1, 2), self._x))
        if self.bias is not None and self.bias.gradient is not None:
            torch.sum(rows, 1, out=self.bias.gradient)
        return (self._back(rows) if wanted else None,)

    def _back(self, rows: Tensor) -> Tensor:
        assert self._shape is not None
        back = product(rows, self.weight.value)
        return back if len(self._shape) == 3 else back.view(self._shape)

    def pulled(self, g: Tensor) -> tuple[Tensor | None, ...]:
        """g W."""
        return (self._back(self.gradient_rows(g)),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """t W' + x dW' + db."""
        assert self._x is not None
        assert self._shape is not None
        (t,) = inputs
        matrix, bias = self.changes(weights)
        through = None if t is None else product(t if t.dim() == 3 else t.flatten(1, -2), self._transposed)
        own = None
        if matrix is not None:
            own = product(self._x, matrix.transpose(1, 2), None if bias is None else bias.unsqueeze(1))
        found = total(through, own)
        return found if found is None or len(self._shape) == 3 else found.view(*self._shape[:-1], -1)

    def input_rows(self) -> Tensor:
        """x."""
        assert self._x is not None
        return self._x

    def gradient_rows(self, g: Tensor) -> Tensor:
        """g."""
        return aligned(g if g.dim() == 3 else g.flatten(1, -2))


class Convolution(Multiplying):
    """One convolution whose groups are the members: (N, K C, ...) to (N, K O, ...).

    oneDNN computes a convolution without groups in another order than one with groups, whatever their number. So a
    single member is computed twice, as two groups, and has the bits that it has among others.
    """

    def __init__(self, weight: Weight, bias: Weight | None, layer: Any, members: int) -> None:
        self.weight, self.bias = weight, bias
        self.trains = _trains(weight, bias)
        self._twice, self._members = members == 1, members
        self._layer = layer
        zeros = [0] * len(layer.stride)
        groups = max(2, members) * layer.groups
        self._how = list(layer.stride), padding_of(layer), list(layer.dilation), False, zeros, groups
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

    def pulled(self, g: Tensor) -> tuple[Tensor | None, ...]:
        """The derivative in the inputs."""
        assert self._x is not None
        weight = self._grouped(self.weight.value.flatten(0, 1), 0)
        how = (*self._how, [True, False, False])
        back, *_ = aten.convolution_backward(self._grouped(g, 1), self._x, weight, None, *how)
        return (self._first(back, 1),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The convolution of t with W, and of x with dW, and db."""
        assert self._x is not None
        (t,) = inputs
        matrix, bias = self.changes(weights)
        through = None if t is None else self._convolved(self._grouped(t, 1), self.weight.value, None)
        own = None if matrix is None else self._convolved(self._x, matrix, bias)
        return total(through, own)

    def _convolved(self, x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        shift = None if bias is None else self._grouped(bias.flatten(), 0)
        kernel = self._grouped(matrix.flatten(0, 1), 0)
        return self._first(torch.convolution(x, kernel, shift, *self._how), 1)

    def input_rows(self) -> Tensor:
        """The windows of x."""
        assert self._x is not None
        x = self._first(self._x, 1)
        k, n = self._members, len(x)
        x = x.view(n, k, -1, *x.shape[2:]).transpose(0, 1).flatten(0, 1)
        sides = [self._layer.kernel_size, *self._how[:3]]
        if x.dim() == 3:
            x = x.unsqueeze(-2)
            sides = [(neutral, *side) for neutral, side in zip((1, 1, 0, 1), sides, strict=True)]
        kernel, stride, padding, dilation = (tuple(side) for side in sides)
        windows = functional.unfold(x, kernel, dilation, padding, stride).transpose(1, 2)
        return windows.reshape(k, -1, windows.shape[2])

    def gradient_rows(self, g: Tensor) -> Tensor:
        """g with the channels last."""
        g = g.view(len(g), self._members, -1, g.shape[2:].numel()).permute(1, 0, 3, 2)
        return g.reshape(len(g), -1, g.shape[3])


class Unfolded(Multiplying):
    """A convolution of the network's inputs as one product of each member: (K, N, C, ...) to (N, K O, ...).

    Each window becomes a column of C k numbers. For few input channels that takes less time than a convolution with
    groups, and the bits do not depend on the number of groups. The inputs get no gradient.
    """

    MOST = 75
    """Numbers of a window up to which the columns are worth their memory."""

    def __init__(self, weight: Weight, bias: Weight | None, layer: Any) -> None:
        self.weight, self.bias = weight, bias
        self.trains = _trains(weight, bias)
        self._kernel, self._stride, self._dilation = layer.kernel_size, layer.stride, layer.dilation
        self._padding = [side for side in reversed(padding_of(layer)) for _ in range(2)]
        self._matrix = weight.value.flatten(2)
        self._columns: Tensor | None = None
        self._images: list[int] | None = None

    def forward(self, *inputs: Tensor, train: bool) -> Tensor:
        """W times the columns."""
        (x,) = inputs
        members = len(x)
        if x.stride(0) == 0:  # all members see the same inputs
            x = x[:1]
        x = functional.pad(x, self._padding)
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
        columns = aligned(windows.reshape(k, self._matrix.shape[2], -1)).expand(members, -1, -1)
        self._images = [n, *out]
        if train:
            self._columns = columns
        y = product(self._matrix, columns, None if self.bias is None else self.bias.value.unsqueeze(2))
        return self._as_channels(y)

    def _as_channels(self, y: Tensor) -> Tensor:
        """(K, O, N L) to (N, K O, ...)."""
        assert self._images is not None
        return y.view(*y.shape[:2], *self._images).movedim(2, 0).flatten(1, 2).contiguous()

    def backward(self, g: Tensor, wanted: bool) -> tuple[Tensor | None, ...]:
        """g times the columns."""
        assert self._columns is not None
        rows = self.gradient_rows(g).transpose(1, 2)
        if self.weight.gradient is not None:
            self.weight.gradient.flatten(2).copy_(product(rows, self._columns.transpose(1, 2)))
        if self.bias is not None and self.bias.gradient is not None:
            torch.sum(rows, 2, out=self.bias.gradient)
        return (None,)

    def pulled(self, g: Tensor) -> tuple[Tensor | None, ...]:
        """No gradient of the network's inputs."""
        return (None,)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """dW times the columns, and db."""
        assert self._columns is not None
        matrix, bias = self.changes(weights)
        if matrix is None:
            return None
        y = product(matrix.flatten(2), self._columns, None if bias is None else bias.unsqueeze(2))
        return self._as_channels(y)

    def input_rows(self) -> Tensor:
        """The columns as rows."""
        assert self._columns is not None
        return self._columns.transpose(1, 2)

    def gradient_rows(self, g: Tensor) -> Tensor:
        """g with the channels last, as a transposed view."""
        k = len(self._matrix)
        rows = g.view(len(g), k, -1, *g.shape[2:]).movedim(0, 2).reshape(k, self._matrix.shape[1], -1)
        return rows.transpose(1, 2)


class BatchNorm(Layer):
    """One batch norm over all members' channels: (N, K C, ...). Running statistics advance in place."""

    def __init__(
        self, layer: Any, weight: Weight | None, bias: Weight | None, mean: Tensor, variance: Tensor, seen: Tensor
    ) -> None:
        self.weight, self.bias = weight, bias
        self.trains = _trains(weight, bias)
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

    def pulled(self, g: Tensor) -> tuple[Tensor | None, ...]:
        """The derivative in the inputs."""
        scale = None if self.weight is None else self.weight.value.flatten()
        return (self._through(g, scale),)

    def _through(self, g: Tensor, scale: Tensor | None) -> Tensor:
        assert self._kept is not None
        x, mean, inverse = self._kept
        how = (None, None, mean, inverse, True, self._eps, [True, False, False])
        back: Tensor = aten.native_batch_norm_backward(g, x, scale, *how)[0]
        return back

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The derivative through the normalisation, which is symmetric, and then scaled; the weights stay."""
        _check_constant(self.weight, self.bias, weights)
        (t,) = inputs
        if t is None:
            return None
        through = self._through(t, None)
        return through if self.weight is None else through.mul_(_per_channel(self.weight, t))


class BatchNormOfRows(Layer):
    """Batch norm of (K, N, F) over N. Running statistics advance in place.

    With x^ = (x - m) / sqrt(v + eps), the derivative is w / sqrt(v + eps) (g - mean g - x^ mean(g x^)) (Ioffe & Szegedy
    2015). torch's kernel works on all K F channels side by side, and its bits depend on a channel's place.
    """

    def __init__(
        self, layer: Any, weight: Weight | None, bias: Weight | None, mean: Tensor, variance: Tensor, seen: Tensor
    ) -> None:
        self.weight, self.bias = weight, bias
        self.trains = _trains(weight, bias)
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
        normal, _ = self._kept
        shift, scale = g.sum(1), (g * normal).sum(1)
        for one, gradient in ((self.bias, shift), (self.weight, scale)):
            if one is not None and one.gradient is not None:
                one.gradient.copy_(gradient)
        return (self._through(g, shift, scale) if wanted else None,)

    def _through(self, g: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """The derivative in the inputs, from the sums of g and of g x^, which are overwritten."""
        assert self._kept is not None
        normal, inverse = self._kept
        factor = inverse if self.weight is None else inverse * self.weight.value.unsqueeze(1)
        shift, scale = (part.div_(g.shape[1]).unsqueeze(1) for part in (shift, scale))
        return (g - shift).sub_(normal * scale).mul_(factor)

    def pulled(self, g: Tensor) -> tuple[Tensor | None, ...]:
        """The derivative in the inputs."""
        assert self._kept is not None
        return (self._through(g, g.sum(1), (g * self._kept[0]).sum(1)),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The derivative in the inputs: each feature's scale comes before or after the normalisation alike."""
        _check_constant(self.weight, self.bias, weights)
        (t,) = inputs
        return None if t is None else self.pulled(t)[0]


class LayerNorm(Layer):
    """Layer norm over the last dimension of (K, N, ..., F), with weights of each member."""

    def __init__(self, layer: Any, weight: Weight, bias: Weight) -> None:
        self.weight, self.bias = weight, bias
        self.trains = _trains(weight, bias)
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
        normal = self._kept[1]
        rows = [*range(1, g.dim() - 1)]
        if self.weight.gradient is not None:
            self.weight.gradient.copy_((g * normal).sum(rows))
        if self.bias.gradient is not None:
            self.bias.gradient.copy_(g.sum(rows))
        return self.pulled(g) if wanted else (None,)

    def _through(self, g: Tensor) -> Tensor:
        """The derivative of the normalisation, which is symmetric."""
        assert self._kept is not None
        x, _, mean, inverse = self._kept
        how = (self._features, mean, inverse, None, None, [True, False, False])
        back: Tensor = aten.native_layer_norm_backward(g, x, *how)[0]
        return back

    def pulled(self, g: Tensor) -> tuple[Tensor | None, ...]:
        """The derivative in the inputs."""
        return (self._through(g * self._spread(self.weight, g.dim())),)

    def tangent(self, inputs: Sequence[Tensor | None], weights: Changes) -> Tensor | None:
        """The derivative through the normalisation, then scaled; the weights stay."""
        _check_constant(self.weight, self.bias, weights)
        (t,) = inputs
        return None if t is None else self._through(t).mul_(self._spread(self.weight, t.dim()))


Find = Callable[[Tensor], Any]
"""Maps a member's parameter to the ``Weight`` of K members, and a member's buffer to their buffer (K, ...)."""


class MembersReader(Reader):
    """Makes the steps of K members, and changes the layout of activations where a layer wants another one.

    Args:
        module: one member.
        members: K.
        find: where the weights of all members are.
    """

    def __init__(self, module: nn.Module, members: int, find: Find) -> None:
        super().__init__(module)
        self.members, self.find = members, find
        self._channels: list[bool] = [False]

    def add(self, layer: Layer, *inputs: int, sides: int | None = None, channels: bool | None = None) -> int:
        """Add a step whose result has channels (N, K C, ...) or rows (K, N, ...); as its input where None."""
        self._channels.append(self._channels[inputs[0]] if channels is None else channels)
        return super().add(layer, *inputs, sides=sides)

    def _rows(self, place: int) -> int:
        """The place of a value as rows (K, N, ...)."""
        k = self.members
        if not self._channels[place]:
            return place
        as_rows = Same(lambda h: h.view(len(h), k, -1, *h.shape[2:]).transpose(0, 1), lambda g, _: _to_channels(g))
        return self.add(as_rows, place, channels=False)

    def _images(self, place: int) -> int:
        """The place of a value as channels (N, K C, ...)."""
        k = self.members
        if self._channels[place]:
            return place
        as_images = Same(
            _to_channels, lambda g, shape: g.view(len(g), k, -1, *g.shape[2:]).transpose(0, 1).reshape(shape)
        )
        return self.add(as_images, place, channels=True)

    def layer(self, layer: Any, place: int) -> int | None:
        """Add the steps of a module of torch."""
        made = elementwise(layer)
        if made is not None:
            return self._elementwise(made, place)
        if is_of(layer, nn.Linear):
            return self.add(Dense(*self._weights(layer)), self._rows(place))
        if is_of(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1 and layer.bias is not None:
            return self.add(LayerNorm(layer, *self._weights(layer)), self._rows(place))
        if (is_of(layer, nn.Conv1d) or is_of(layer, nn.Conv2d)) and pads_evenly(layer):
            sides = len(layer.kernel_size)
            if place == 0 and layer.groups == 1 and layer.weight[0].numel() <= Unfolded.MOST:
                return self.add(Unfolded(*self._weights(layer), layer), place, sides=sides, channels=True)
            grouped = Convolution(*self._weights(layer), layer, self.members)
            return self.add(grouped, self._images(place), sides=sides)
        for pool, sides in ((nn.MaxPool1d, 1), (nn.MaxPool2d, 2)):
            if is_of(layer, pool) and not layer.return_indices:
                return self.add(MaxPool(layer, sides), self._images(place))
        for mean, sides in ((nn.AdaptiveAvgPool1d, 1), (nn.AdaptiveAvgPool2d, 2)):
            if is_of(layer, mean) and layer.output_size in (1, (1, 1)):
                return self.add(Mean(sides), self._images(place))
        if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d) and layer.momentum is not None and layer.track_running_stats:
            weight, bias = (None if one is None else self.find(one) for one in (layer.weight, layer.bias))
            buffers = (self.find(one) for one in (layer.running_mean, layer.running_var, layer.num_batches_tracked))
            kind = BatchNorm if self._channels[place] else BatchNormOfRows
            return self.add(kind(layer, weight, bias, *buffers), place)
        return None

    def _weights(self, layer: Any) -> tuple[Any, Any]:
        return self.find(layer.weight), None if layer.bias is None else self.find(layer.bias)

    def _elementwise(self, made: Elementwise, place: int) -> int:
        made.members, made.channels = self.members, self._channels[place]
        return self.add(made, place)

    def relu(self, place: int) -> int:
        """Add a ReLU."""
        made = elementwise(nn.ReLU())
        assert made is not None
        return self._elementwise(made, place)

    def flattened(self, place: int) -> int:
        """Add a flattening of every example of every member."""
        k = self.members
        if not self._channels[place]:
            return self.add(Same(lambda h: h.flatten(2), lambda g, shape: g.reshape(shape)), place)
        # each member's rows next to each other, since a product's bits may depend on the distance of two rows
        flat = Same(
            lambda h: h.reshape(len(h), k, -1).transpose(0, 1).contiguous(),
            lambda g, shape: g.transpose(0, 1).reshape(shape),
        )
        return self.add(flat, place, channels=False)

    def added(self, first: int, second: int, alpha: float) -> int:
        """Add a sum."""
        if self._channels[first] or self._channels[second]:
            first, second = self._images(first), self._images(second)
        return self.add(Add(alpha), first, second)

    def subsampled(self, place: int, strides: tuple[int, ...], extra: tuple[int, int]) -> int:
        """Add a subsampling."""
        return self.add(Subsample(self.members, strides, extra), self._images(place))

    def ended(self, place: int) -> int:
        """The network's result as rows, in a step of its own."""
        end = self._rows(place)
        return end if end == len(self.steps) and end else self.add(Same(lambda h: h), end)


def _to_channels(h: Tensor) -> Tensor:
    """(K, N, C, ...) -> (N, K C, ...)."""
    return h.transpose(0, 1).flatten(1, 2)
