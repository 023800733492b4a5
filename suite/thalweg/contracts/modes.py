"""The mode in which a module is looked at: evaluation mode, and which statistics batch norm uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from thalweg.contracts.untouched import Untouched

BatchStatistics = Literal["running", "batch"]
"""Batch norm's statistics: ``running``, which training collected, or ``batch``, of the present examples."""


def batch_norms(module: nn.Module) -> list[_NormBase]:
    """The module's batch-norm layers, and its instance norms that keep running statistics, in order."""
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _NormBase) and (not isinstance(layer, _InstanceNorm) or layer.track_running_stats)
    ]


def set_mode(module: nn.Module, training: bool) -> None:
    """``module.train()`` or ``module.eval()``.

    Raises:
        ValueError: the call writes into the module's weights, as it does for adapters that merge their weights for
            evaluation. The weights that are selected, saved or measured would then differ from those that train.
    """
    change = module.train if training else module.eval
    if not has_own_modes(module):
        change()
        return
    kept = Untouched(module.state_dict())
    change()
    if kept.changed:
        method = "train" if training else "eval"
        raise ValueError(
            f"{type(module).__name__}.{method}() writes into the weights, which are then others in evaluation than in "
            "training: let forward compute what it needs of them, and leave them as they are"
        )


def has_own_modes(module: nn.Module) -> bool:
    """Whether a part of the module does more in ``train`` or ``eval`` than to set a flag."""
    return any(_has_own_modes(part) for part in module.modules())


@contextmanager
def kept_modes(module: nn.Module) -> Iterator[None]:
    """While active, the mode may change; then every part has its mode again. Not for a module with own modes."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _has_own_modes(part: nn.Module) -> bool:
    methods = (part.train, nn.Module.train), (part.eval, nn.Module.eval)
    return any(getattr(own, "__func__", None) is not torchs for own, torchs in methods)


def set_evaluating(module: nn.Module, batch_norm: BatchStatistics = "running") -> None:
    """Put a module into evaluation mode: nothing random. With ``"batch"`` batch norm alone is in training mode.

    Raises:
        ValueError: see ``set_mode``.
    """
    set_mode(module, training=False)
    if batch_norm == "batch":
        for layer in batch_norms(module):
            layer.train()


@contextmanager
def estimating(layers: Sequence[_NormBase]) -> Iterator[None]:
    """While active, forward passes set each layer's running statistics to the mean of the batches' statistics."""
    momenta = [layer.momentum for layer in layers]
    with ExitStack() as hooks:
        for layer in layers:
            layer.reset_running_stats()
            if isinstance(layer, _InstanceNorm):
                hooks.callback(layer.register_forward_pre_hook(_Counted()).remove)
            else:
                layer.momentum = None  # the mean over batches
            layer.train()
        try:
            yield
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum


class _Counted:
    """Makes the n-th batch count 1/n: torch's instance norm takes a momentum of None for zero."""

    def __init__(self) -> None:
        self.batches = 0

    def __call__(self, layer: nn.Module, _: object) -> None:
        self.batches += 1
        layer.momentum = 1 / self.batches  # type: ignore[assignment]
