"""Optimizers by elementwise rules that torch does not have. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg import Optimizer, Stepper
from thalweg.contracts import BuildContext, StackedStepper
from thalweg_plugins.optimizers.update_rule import UpdateRule

if TYPE_CHECKING:
    from torch import nn


class Rule(Optimizer, UpdateRule):
    """An optimizer that steps by its own ``update``."""

    elementwise = True

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper of this rule."""
        from thalweg_plugins.optimizers.rule_stepper import RuleStepper

        return RuleStepper(self, module, [hyperparameters], stacked=False)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """A stepper of this rule on one row for each member, where members differ in hyperparameters."""
        from thalweg_plugins.optimizers.rule_stepper import RuleStepper

        if len(members) == 1:
            return super().build_stacked(module, members, context)
        return RuleStepper(self, module, members, stacked=True)
