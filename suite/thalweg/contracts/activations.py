"""Pre-activations and activations of any network, without knowing its architecture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

NOT_ELEMENTWISE = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU)
"""Modules that torch keeps among its activations and that do not act on each number alone."""


@dataclass(frozen=True)
class Activation:
    """The input and the output of an activation, with the batch dimension first and the graph attached."""

    layer: str
    """Name of the activation's module, as in ``named_modules``."""
    before: Tensor
    after: Tensor


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation: an elementwise one of torch, or one with ``is_activation = True``."""
    own = any(kind.__module__ == "torch.nn.modules.activation" for kind in type(module).__mro__)
    return (own and not isinstance(module, NOT_ELEMENTWISE)) or getattr(module, "is_activation", False) is True


@contextmanager
def activations(module: nn.Module) -> Iterator[list[Activation]]:
    """While active, every forward pass appends its activations to the list, in the order in which they happen.

    A module that is called twice in a pass is in the list twice. Functions such as ``torch.relu`` are not seen; only
    modules are. The input of an activation that works in place is kept as a copy.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> with activations(net) as seen:
    ...     output = net(torch.ones(5, 3))
    >>> [(one.layer, tuple(one.before.shape)) for one in seen]
    [('1', (5, 4))]
    >>> bool((seen[0].after == seen[0].before.clamp(min=0)).all())
    True
    """
    seen: list[Activation] = []

    waiting: dict[str, Tensor] = {}

    def hooks(name: str, layer: nn.Module) -> tuple[RemovableHandle, RemovableHandle]:
        def before(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            inputs = args[0] if args else next(iter(kwargs.values()))
            waiting[name] = inputs.clone() if getattr(layer, "inplace", False) else inputs

        def after(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append(Activation(name, waiting.pop(name), output))

        return layer.register_forward_pre_hook(before, with_kwargs=True), layer.register_forward_hook(after)

    handles = [
        handle for name, layer in module.named_modules() if is_activation(layer) for handle in hooks(name, layer)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
