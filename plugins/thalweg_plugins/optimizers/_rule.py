"""Elementwise rules that torch does not have. Does not import torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg import Optimizer, Stepper
from thalweg.contracts import BuildContext, StackedStepper

if TYPE_CHECKING:
    from torch import Tensor, nn


class Rule(Optimizer):
    """A rule that treats every weight alike, written once for one network and for K members of different settings.

    A subclass names its ``slots`` and writes ``update``. All weights of a network are one vector (P,) there, and those
    of K members are (K, P); a number is a float then, or (K, 1).
    """

    elementwise = True
    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state, each shaped as the weights and zero at first, unless ``start`` says otherwise."""
    evaluated: ClassVar[str] = ""
    """The slot that holds the weights to be evaluated, where these are not the ones that train."""
    placed: ClassVar[tuple[str, ...]] = ()
    """Slots that hold weights, which belong into a problem's domain."""

    def numbers(self, h: Mapping[str, Any], t: int, kept: dict[str, float]) -> dict[str, float]:
        """One member's numbers at step t = 1, 2, ...: its hyperparameters, and what is computed from them.

        ``kept`` is empty at first and lives from step to step: for sums over the steps.
        """
        return dict(h)

    def start(self, w: Tensor) -> dict[str, Tensor]:
        """The state before the first step, at weights w."""
        return {name: w.new_zeros(w.shape) for name in self.slots}

    @abstractmethod
    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The new weights from the old ones and their gradient; replaces slots of ``s``, with the numbers ``c``."""

    def divisor(self, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """What the last step divided a momentum of gradients by, where the rule is ``preconditioned``."""
        raise NotImplementedError

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper of this rule."""
        from thalweg_plugins.optimizers._rule_stepper import RuleStepper

        return RuleStepper(self, module, [hyperparameters], stacked=False)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """The same rule on rows, with a column of numbers where the members' differ."""
        from thalweg_plugins.optimizers._rule_stepper import RuleStepper

        if len(members) == 1:
            return super().build_stacked(module, members, context)
        return RuleStepper(self, module, members, stacked=True)
