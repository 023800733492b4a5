"""Pre-activations and activations of any network, without knowing its architecture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Identity)
"""Modules that are taken for activations. Identity is the activation of deep linear networks."""


@dataclass(frozen=True)
class Activation:
    """What went into an activation and what came out, with the batch dimension first and the graph attached."""

    layer: str
    """Name of the activation's module, as in ``named_modules``."""
    before: Tensor
    after: Tensor


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation: one of ``ELEMENTWISE``, or one with an attribute ``is_activation = True``."""
    return isinstance(module, ELEMENTWISE) or getattr(module, "is_activation", False) is True


@contextmanager
def activations(module: nn.Module) -> Iterator[list[Activation]]:
    """While active, every forward pass appends its activations to the list, in the order in which they happen.

    A module that is called twice in a pass is there twice. Networks that call functions (``torch.relu``) in place of
    modules are not seen through.

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

    def hook(name: str) -> RemovableHandle:
        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append(Activation(name, inputs[0], output))

        return module.get_submodule(name).register_forward_hook(record)

    handles = [hook(name) for name, layer in module.named_modules() if is_activation(layer)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
