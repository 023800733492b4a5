"""Optimizers that are a ``torch.optim`` class under declared hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Stepper
from thalweg.contracts import BuildContext

if TYPE_CHECKING:
    from torch import nn


def lr(default: float, low: float = 1e-4, high: float = 1.0) -> Hyperparameter:
    """The learning rate."""
    return Hyperparameter("lr", default, "(0, inf)", "learning rate", Search(low, high))


def weight_decay() -> Hyperparameter:
    """The L2 penalty's coefficient."""
    return Hyperparameter("weight_decay", 0.0, "[0, inf)", "coefficient of an L2 penalty added to the gradient")


class Declared(Optimizer):
    """Builds ``torch.optim.<torch_name>``, fused where torch has a fused form."""

    torch_name: str
    elementwise = True

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Torch's arguments for these hyperparameters."""
        return dict(hyperparameters)

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """Torch's optimizer behind a stepper."""
        import torch

        from thalweg.contracts.torch_adapter import TorchStepper, fused_if_possible

        cls = getattr(torch.optim, self.torch_name)
        fused = fused_if_possible(cls, module)
        return TorchStepper(cls(module.parameters(), **self.arguments(hyperparameters), **fused))
