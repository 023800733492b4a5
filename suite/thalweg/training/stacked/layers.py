"""The layers of plain sequential networks for K members at once, without ``vmap``.

Activations are rows (K, N, ...), or channels (N, K C, ...) from a convolution to the next flattening.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

Layer = Callable[[Tensor], Tensor]
Find = Callable[[Tensor], Callable[[], Tensor]]
"""Maps a member's parameter or buffer to a function that gives the stack of it."""

_ELEMENTWISE = (
    nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Identity,
)  # fmt: skip
_CONVOLUTIONS = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d}
_POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
)  # fmt: skip


def stacked_layers(module: nn.Module, members: int, find: Find) -> list[Layer] | None:
    """The layers of K members in training mode, in order; None where the module has a layer of another kind.

    Supported are (nested) ``nn.Sequential`` of linear layers, convolutions, poolings, batch norm, layer norm,
    flattening and elementwise activations.
    """
    found: list[Layer] = []
    place = _Place(members)
    for layer in _leaves(module):
        made = _made(layer, place, find) if _plain(layer) else None
        if made is None:
            return None
        found.append(made)
    found.append(place.end())
    return found


def _leaves(module: nn.Module) -> list[nn.Module]:
    if type(module) is not nn.Sequential or not _plain(module):
        return [module]
    return [leaf for child in module for leaf in _leaves(child)]


def _plain(layer: nn.Module) -> bool:
    """Whether a call of the layer runs its ``forward`` and nothing else, on parameters that are plain tensors."""
    hooks: tuple[Mapping[int, object], ...] = (
        layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks,
    )  # fmt: skip
    return not any(hooks) and not parametrize.is_parametrized(layer)


def _is(layer: nn.Module, kind: type[nn.Module]) -> bool:
    return isinstance(layer, kind) and type(layer).forward is kind.forward


class _Place:
    """The present layout of activations: rows (K, N, ...) or channels (N, K C, ...)."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.channels = False

    def to_channels(self) -> Layer:
        """(K, N, C, ...) -> (N, K C, ...)."""
        if self.channels:
            return _same
        self.channels = True
        return lambda h: h.transpose(0, 1).flatten(1, 2)

    def end(self) -> Layer:
        """Back to rows (K, N, ...)."""
        if not self.channels:
            return _same
        self.channels, k = False, self.members
        return lambda h: _rows(h, k)


def _same(h: Tensor) -> Tensor:
    return h


def _rows(h: Tensor, members: int) -> Tensor:
    """(N, K C, ...) -> (K, N, C, ...)."""
    return h.view(len(h), members, -1, *h.shape[2:]).transpose(0, 1)


def _made(layer: Any, place: _Place, find: Find) -> Layer | None:
    if any(_is(layer, kind) for kind in _ELEMENTWISE):
        return lambda h: layer(h)
    if _is(layer, nn.Flatten):
        return _flatten(layer, place)
    if _is(layer, nn.Linear):
        return None if place.channels else _linear(layer, find)
    if _is(layer, nn.LayerNorm):
        return None if place.channels else _layer_norm(layer, find)
    for kind, function in _CONVOLUTIONS.items():
        if _is(layer, kind):
            return _convolution(layer, function, place, find)
    if any(_is(layer, kind) for kind in _POOLS) and not getattr(layer, "return_indices", False):
        enter = place.to_channels()
        return lambda h: layer(enter(h))
    if isinstance(layer, _BatchNorm) and type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d):
        return _batch_norm(layer, place, find)
    return None


def _flatten(layer: Any, place: _Place) -> Layer | None:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        return None
    if not place.channels:
        return lambda h: h.flatten(2)
    place.channels, k = False, place.members
    return lambda h: h.reshape(len(h), k, -1).transpose(0, 1)


class _Affine(torch.autograd.Function):
    """x W' + b of K members: (K, N, I), (K, O, I) and (K, O) to (K, N, O).

    The gradient g'x of W has the memory layout of W. That saves a sixth of a step against the derivative of
    ``baddbmm``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        transposed = weight.transpose(1, 2)
        return torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, transposed)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(g, weight) if ctx.needs_input_grad[0] else None
        return of_x, torch.bmm(g.transpose(1, 2), x), g.sum(1) if ctx.has_bias else None


def _linear(layer: nn.Module, find: Find) -> Layer:
    """x W' + b of each member: one batched product."""
    weight = find(layer.get_parameter("weight"))
    bias = None if layer.bias is None else find(layer.get_parameter("bias"))

    def forward(h: Tensor) -> Tensor:
        rows = h if h.dim() == 3 else h.flatten(1, -2)
        apply: Callable[..., Tensor] = _Affine.apply
        out = apply(rows, weight(), None if bias is None else bias())
        return out if h.dim() == 3 else out.view(*h.shape[:-1], -1)

    return forward


def _layer_norm(layer: Any, find: Find) -> Layer | None:
    shape, eps = layer.normalized_shape, float(layer.eps)
    if len(shape) != 1 or layer.weight is None or layer.bias is None:
        return None
    weight, bias = find(layer.get_parameter("weight")), find(layer.get_parameter("bias"))

    def forward(h: Tensor) -> Tensor:
        w, b = (p.view(len(p), *[1] * (h.dim() - 2), -1) for p in (weight(), bias()))
        return torch.addcmul(b, functional.layer_norm(h, shape, eps=eps), w)

    return forward


def _convolution(layer: Any, function: Callable[..., Tensor], place: _Place, find: Find) -> Layer | None:
    """One convolution whose groups are the members."""
    if layer.padding_mode != "zeros":
        return None
    enter, k = place.to_channels(), place.members
    weight = find(layer.get_parameter("weight"))
    bias = None if layer.bias is None else find(layer.get_parameter("bias"))
    how = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": k * layer.groups}

    def forward(h: Tensor) -> Tensor:
        return function(enter(h), weight().flatten(0, 1), None if bias is None else bias().flatten(), **how)

    return forward


def _batch_norm(layer: _BatchNorm, place: _Place, find: Find) -> Layer | None:
    """One batch norm over all members' channels; running statistics advance in place."""
    if layer.momentum is None or not layer.track_running_stats:
        return None
    mean, variance, seen = (find(layer.get_buffer(n)) for n in ("running_mean", "running_var", "num_batches_tracked"))
    weight, bias = (None if p is None else find(p) for p in (layer.weight, layer.bias))
    momentum, eps, k = float(layer.momentum), float(layer.eps), place.members

    def normalised(h: Tensor) -> Tensor:
        seen().add_(1)
        scale, shift = (None if p is None else p().flatten() for p in (weight, bias))
        return functional.batch_norm(h, mean().view(-1), variance().view(-1), scale, shift, True, momentum, eps)

    if place.channels:
        return normalised
    return lambda h: _rows(normalised(h.transpose(0, 1).flatten(1, 2)), k)
