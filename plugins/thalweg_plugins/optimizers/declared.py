"""Optimizers that are a ``torch.optim`` class under declared hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg import Optimizer, Stepper
from thalweg.contracts import BuildContext, StackedStepper, step_limits

if TYPE_CHECKING:
    from torch import nn


class Declared(Optimizer):
    """Builds ``torch.optim.<torch_name>``, fused where torch has a fused form."""

    torch_name: str
    elementwise = True

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Torch's arguments for these hyperparameters."""
        return dict(hyperparameters)

    @property
    def preconditioned(self) -> bool:  # type: ignore[override]
        """Whether torch's class is preconditioned."""
        return self.torch_name in step_limits.PRECONDITIONED

    def stability_limit(self, hyperparameters: Mapping[str, Any]) -> float | None:
        """The limit of torch's class."""
        return step_limits.stability_limit(self.torch_name, self.arguments(hyperparameters))

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """Torch's optimizer behind a stepper."""
        import torch

        from thalweg.contracts.torch_stepper import TorchStepper, fused_if_possible

        cls = getattr(torch.optim, self.torch_name)
        fused = fused_if_possible(cls, module)
        return TorchStepper(cls(module.parameters(), **self.arguments(hyperparameters), **fused))

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """Torch's optimizer on all members; on one row for each member where hyperparameters differ."""
        import torch

        from thalweg.contracts.torch_stepper import TorchRows

        if not self.elementwise or len(members) == 1:
            return super().build_stacked(module, members, context)
        cls = getattr(torch.optim, self.torch_name)
        return TorchRows(cls, module, [self.arguments(member) for member in members])
