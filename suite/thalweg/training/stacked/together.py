"""K members that make steps together: their weights, their objective and their stepper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Batch, BuildContext, Draw, Optimizer, StackedReport, StepReport
from thalweg.contracts.supervised import Supervised
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.registry import is_built_in
from thalweg.training.recipe import decayed
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.objective import StackedObjective
from thalweg.training.stacked.problem import StackedProblem
from thalweg.trial import Trial


class CannotStackError(Exception):
    """These trials do not train as one program: train them one at a time."""


class BitsDependError(CannotStackError):
    """The bits of trials in a program would depend on the other trials. Each in a program of its own is right."""


@dataclass(frozen=True)
class Kind:
    """What all members of a stack have in common."""

    trial: Trial
    """Any of the trials."""
    optimizer: Optimizer
    context: BuildContext
    problem: Supervised

    def parts(self, module: nn.Module) -> tuple[str | type, ...]:
        """What a trial's problem and network are: in a notebook, a name may stand for another class the next time."""
        return repr(module), type(self.problem), type(self.problem.output_loss), *map(type, module.modules())

    @property
    def several(self) -> bool:
        """Whether each member has hyperparameters of its own."""
        return self.trial.stack is not None and self.trial.stack.rows


def is_known(optimizer: Optimizer) -> bool:
    """Whether an optimizer is thalweg's or torch's own. It neither writes into gradients nor keeps them."""
    cls = optimizer.cls if isinstance(optimizer, TorchOptimizer) else type(optimizer)
    return is_built_in(cls) or cls.__module__.startswith("torch.optim.")


def _rows(settings: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The different settings, if equally many members next to each other share each; else those of every member."""
    different = [one for index, one in enumerate(settings) if one not in settings[:index]]
    each = len(settings) // len(different)
    spread = [one for one in different for _ in range(each)]
    return different if spread == list(settings) else settings


class Together:
    """Makes steps of K members.

    Args:
        kind: what they have in common.
        modules: one for each member; the weights are copied.
        settings: the hyperparameters of each member.
        draws: the draw of each member.
        direct: whether the network may run without autograd.

    Raises:
        Exception: the members do not fit into one program.
    """

    def __init__(
        self,
        kind: Kind,
        modules: Sequence[nn.Module],
        settings: Sequence[Mapping[str, Any]],
        draws: Sequence[Draw],
        direct: bool,
    ) -> None:
        trial = kind.trial
        self._trial = trial
        self.problem = StackedProblem(kind.problem, draws)
        rows = _rows(settings) if kind.several else settings[:1]
        self.module = StackedModule(modules, len(rows), direct)
        self.stepper = kind.optimizer.build_stacked(self.module, rows, kind.context)
        fading = [
            name
            for name, parameter in modules[0].named_parameters()
            if parameter.requires_grad and decayed([parameter], trial.weight_decay_on)
        ]
        self.objective = StackedObjective(
            self.module,
            self.problem,
            draws[0],
            l2=trial.coupled_weight_decay,
            penalized=fading,
            new_gradients=not is_known(kind.optimizer),
        )
        self._decayed = [self.module.pieces[name] for name in fading] if trial.decoupled_weight_decay else []
        self._lrs = [float(lr) for lr in self.stepper.lrs]
        self._before: list[Tensor] = []
        self.info: dict[str, float] = {}
        """What the last step reported, which holds for every member."""
        self._own: list[dict[str, float]] = [{} for _ in modules]
        """What the last step reported of each member."""

    def lr(self, member: int) -> float:
        """The present learning rate of a member."""
        lrs = self.stepper.lrs
        return lrs[member // (self.module.members // len(lrs))]

    def told(self, member: int) -> dict[str, float]:
        """What the last step reported of a member."""
        return self.info | self._own[member]

    def prepare(self, factor: float | None) -> None:
        """Set the learning rates to ``factor`` times those at the start, as ``StepRecipe.before`` does for one."""
        if factor is not None:
            self.stepper.lrs = [lr * factor for lr in self._lrs]
        self._before = [weight.value.clone() for weight in self._decayed]
        self.problem.losses = None

    @torch.no_grad()
    def finish(self, report: StepReport) -> None:
        """w <- w - lr c w for each member, as ``StepRecipe.after`` does for one."""
        self.info = dict(report.info)
        if isinstance(report, StackedReport):
            self._own = report.of_each
        self.module.read_rows()
        if self._before:
            shares = [self.lr(member) * self._trial.decoupled_weight_decay for member in range(self.module.members)]
            for weight, before in zip(self._decayed, self._before, strict=True):
                for member, share in enumerate(shares):
                    weight.value[member].sub_(before[member], alpha=share)
            self.module.write_rows()

    def step(self, batch: Batch, step: int, factor: float | None) -> None:
        """One whole step."""
        self.objective.begin_step(batch, step)
        self.prepare(factor)
        self.finish(self.stepper.step(self.objective))


def only(batch: Batch, member: int, kept: bool) -> Batch:
    """One member's part of a batch: with the dimension of members ``kept``, or as a trial alone has it."""
    at: Any = slice(member, member + 1) if kept else member
    inputs, targets = (None if part is None else part[at] for part in (batch.inputs, batch.targets))
    return Batch(inputs, targets, batch.size)
