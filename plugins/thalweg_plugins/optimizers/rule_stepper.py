"""The stepper of elementwise rules. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thalweg.contracts import StackedStepper, StepReport
from thalweg.contracts.rows import Rows
from thalweg.curvature import pieces

if TYPE_CHECKING:
    from thalweg.contracts.objective import Objective
    from thalweg_plugins.optimizers.update_rule import UpdateRule


class RuleStepper(StackedStepper):
    """Applies a rule to one network (P,), or to K stacked members (K, P) with different hyperparameters."""

    def __init__(
        self, rule: UpdateRule, module: nn.Module, members: Sequence[Mapping[str, Any]], stacked: bool
    ) -> None:
        self.rule = rule
        self.members = [dict(member) for member in members]
        self.stacked = stacked
        self.rows = Rows(module.parameters(), len(members) if stacked else None)
        self.t = 0
        self.kept: list[dict[str, float]] = [{} for _ in members]
        self.slots: dict[str, Tensor] = {}
        self.averages = bool(rule.evaluated)

    @property
    def lrs(self) -> list[float]:
        """The learning rate of each member; a single network is one member."""
        return [member["lr"] for member in self.members]

    @lrs.setter
    def lrs(self, values: list[float]) -> None:
        for member, value in zip(self.members, values, strict=True):
            member["lr"] = value

    @torch.no_grad()
    def step(self, objective: Objective) -> StepReport:
        """One step of the rule on the gradient of the current batch."""
        objective.backward()
        self.t += 1
        w, g = self.rows.weights(), self.rows.gradients()
        slots = SimpleNamespace(**(self.slots or self.rule.start(w)))
        self.rows.write(self.rule.update(w, g, slots, self._numbers(w)))
        self.slots = vars(slots)
        return StepReport()

    def _numbers(self, w: Tensor) -> SimpleNamespace:
        """The numbers of the rule as floats, or for stacked members as columns (K, 1). Both are computed in float64."""
        each = [self.rule.numbers(member, self.t, kept) for member, kept in zip(self.members, self.kept, strict=True)]
        if not self.stacked:
            return SimpleNamespace(**each[0])
        columns = torch.tensor([list(numbers.values()) for numbers in each], dtype=torch.float64).to(w)
        return SimpleNamespace(**dict(zip(each[0], columns.unsqueeze(-1).unbind(1), strict=True)))

    @contextmanager
    def evaluation_weights(self) -> Iterator[None]:
        """Put the rule's evaluated slot into the module; do nothing without such a slot, or before the first step."""
        if not self.rule.evaluated or not self.slots:
            yield
            return
        training = self.rows.weights()
        self.rows.write(self.slots[self.rule.evaluated])
        try:
            yield
        finally:
            self.rows.write(training)

    def project(self, project: Callable[[], None]) -> None:
        """Project the module's weights, and every slot that holds weights."""
        project()
        if self.rule.placed and self.slots:
            training = self.rows.weights()
            for name in self.rule.placed:
                self.rows.write(self.slots[name])
                project()
                self.slots[name] = self.rows.weights()
            self.rows.write(training)

    def preconditioner(self) -> list[Tensor] | None:
        """The divisor of a preconditioned rule; None for other rules, and before the first step."""
        if not self.rule.preconditioned or not self.slots or self.stacked:
            return None
        weights = self.rows.weights()
        divisor = self.rule.divisor(SimpleNamespace(**self.slots), self._numbers(weights))
        return pieces(divisor, self.rows.parameters)

    def state_dict(self) -> dict[str, Any]:
        """Learning rates, the number of steps, sums and slots."""
        return {"lrs": self.lrs, "t": self.t, "kept": self.kept, "slots": self.slots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        state = copy.deepcopy(state)
        self.lrs, self.t, self.kept, self.slots = state["lrs"], state["t"], state["kept"], state["slots"]
