"""One example's squared gradient norm in the parameters of a layer, from its input a and d = dl/dz, example by example.

Each rule takes the layer, a and d of N examples, and the names of the parameters that are free. It returns (N,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import torch
from torch import Tensor, nn
from torch.nn import functional

HELD = 2**22
"""The most numbers in the weight gradients of single examples that are formed at once."""

Rule = Callable[[nn.Module, Tensor, Tensor, Set[str]], Tensor]


def _linear(_: nn.Module, a: Tensor, d: Tensor, free: Set[str]) -> Tensor:
    """The weight's gradient is the sum of d a' over positions."""
    found = d.new_zeros(len(d))
    if a.dim() == 2:
        squares = _squares(d)
        found += squares * _squares(a) if "weight" in free else 0
        return found + squares if "bias" in free else found
    a, d = a.flatten(1, -2), d.flatten(1, -2)
    if "weight" in free:
        found += _of_products(a, d)
    return found + _squares(d.sum(1)) if "bias" in free else found


def _of_products(a: Tensor, d: Tensor) -> Tensor:
    """||sum_t d_t a_t'||^2 for a (N, T, I) and d (N, T, O): sum_ts (a_t'a_s) (d_t'd_s) where that is less work."""
    t, i, o = a.shape[1], a.shape[2], d.shape[2]
    if t * (i + o) < i * o:
        return _in_parts(lambda a, d: ((a @ a.mT) * (d @ d.mT)).sum((1, 2)), 2 * t * t, a, d)
    return _in_parts(lambda a, d: _squares(d.mT @ a), i * o, a, d)


def _in_parts(function: Callable[..., Tensor], numbers: int, *tensors: Tensor) -> Tensor:
    """A function of some examples at a time, each of which takes this many numbers."""
    size = max(1, HELD // numbers)
    parts = zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)
    return torch.cat([function(*part) for part in parts])


def _squares(x: Tensor) -> Tensor:
    """The squared norm of each example's numbers."""
    found: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1).square()
    return found


def _convolution(layer: nn.Module, a: Tensor, d: Tensor, free: Set[str]) -> Tensor:
    """The gradients of single examples are those of one convolution with a group for each."""
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    found = d.new_zeros(len(d))
    if "weight" in free:
        found += _in_parts(lambda a, d: _convolution_weight(layer, a, d), layer.weight.numel(), a, d)
    return found + _squares(d.flatten(2).sum(2)) if "bias" in free else found


def _convolution_weight(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, a: Tensor, d: Tensor) -> Tensor:
    n, none = len(a), [0] * len(layer.stride)
    sides = [0] * len(layer.stride)
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        sides = list(layer.padding)
    else:  # as the layer itself pads
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        a = functional.pad(a, layer._reversed_padding_repeated_twice, mode=mode)
    _, found, _ = torch.ops.aten.convolution_backward(
        d.reshape(1, -1, *d.shape[2:]),
        a.reshape(1, -1, *a.shape[2:]),
        layer.weight.repeat(n, *[1] * (layer.weight.dim() - 1)),
        None,
        layer.stride,
        sides,
        layer.dilation,
        False,
        none,
        n * layer.groups,
        [False, True, False],
    )
    return _squares(found.view(n, -1))


def _affine(normalized: Tensor, d: Tensor, free: Set[str], positions: Sequence[int]) -> Tensor:
    """z = gamma x + beta, with x and d summed over positions after their product."""
    found = d.new_zeros(len(d))
    for name, product in (("weight", d * normalized), ("bias", d)):
        if name in free:
            found += _squares(product.sum(list(positions)) if positions else product)
    return found


def _batch_norm(layer: nn.Module, a: Tensor, d: Tensor, free: Set[str]) -> Tensor:
    """Running statistics are constant."""
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    x = functional.batch_norm(a, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)
    return _affine(x, d, free, range(2, d.dim()))


def _layer_norm(layer: nn.Module, a: Tensor, d: Tensor, free: Set[str]) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    x = functional.layer_norm(a, layer.normalized_shape, None, None, layer.eps)
    return _affine(x, d, free, range(1, d.dim() - len(layer.normalized_shape)))


def _group_norm(layer: nn.Module, a: Tensor, d: Tensor, free: Set[str]) -> Tensor:
    assert isinstance(layer, nn.GroupNorm)
    x = functional.group_norm(a, layer.num_groups, None, None, layer.eps)
    return _affine(x, d, free, range(2, d.dim()))


def _embedding(layer: nn.Module, a: Tensor, d: Tensor, _: Set[str]) -> Tensor:
    """The gradients of a token's positions add up: sum_ts [token_t = token_s] d_t'd_s."""
    assert isinstance(layer, nn.Embedding)
    tokens, d = a.flatten(1) if a.dim() > 1 else a[:, None], d.view(len(d), -1, d.shape[-1])
    if layer.padding_idx is not None:
        d = d * (tokens != layer.padding_idx)[:, :, None]
    length = tokens.shape[1]
    return _in_parts(_of_equal_tokens, 2 * length * length, tokens, d)


def _of_equal_tokens(tokens: Tensor, d: Tensor) -> Tensor:
    return ((d @ d.mT) * (tokens[:, :, None] == tokens[:, None])).sum((1, 2))


_RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.Embedding: _embedding,
}


def rule(layer: nn.Module) -> Rule | None:
    """The rule of a layer; None where there is no rule. A subclass has none, because its forward pass may be another.

    A batch norm must use running statistics. An embedding must not scale its gradient by frequencies, which are the
    batch's, nor renormalise its weights.
    """
    found = _RULES.get(type(layer))
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return None if layer.training or layer.running_mean is None else found
    if isinstance(layer, nn.Embedding):
        return None if layer.scale_grad_by_freq or layer.max_norm is not None or layer.sparse else found
    return found
