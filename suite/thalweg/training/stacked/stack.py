"""A stack of trials in training as one program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from thalweg.benchmark_file import Keep
from thalweg.contracts import BuildContext, Draw, StackedStepper, StepReport
from thalweg.contracts.copies import copied
from thalweg.contracts.objective import Objective, kept_buffers
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.training.assembly import Assembly, assemble
from thalweg.training.checkpoint import Checkpoint, random_state
from thalweg.training.loop import StepLoop
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.training.recipe import decayed
from thalweg.training.stacked.member import Member
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.problem import StackedProblem
from thalweg.training.trained import Trained
from thalweg.trial import Trial


class CannotStackError(Exception):
    """These trials do not train as one program: train them one at a time."""


class StackTraining(StepLoop):
    """Trains a stack, in which each trial has a place of its own.

    Copies fill the places that no trial has, so that every operation always has equal shapes. Then what a member
    computes depends on the member's place alone: not on how many other members there are, who they are, or whether they
    diverge.

    Args:
        trials: what is trained; they differ in seed, or in hyperparameters where the stack has rows.
        registry: where their components are.
        progress: called with a trial's index, its steps done and all steps.
        keep: which weights are kept of each.
        checkpoint: where the state is kept.

    Raises:
        CannotStackError: the trials do not train as one program, and why.
    """

    stepper: StackedStepper
    problem: StackedProblem

    def __init__(
        self,
        trials: Sequence[Trial],
        registry: Registry,
        progress: Callable[[int, int, int], None],
        keep: Keep | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        trial = trials[0]
        assert trial.stack is not None
        self.size, rows = trial.stack.size, trial.stack.rows
        optimizer = registry.optimizer(trial.optimizer.name)
        settings = [resolve(optimizer.options, one.optimizer.settings, optimizer.name) for one in trials]
        self.members: list[Member] = []
        self._bytes: dict[tuple[int, bool], int | None] = {}
        context = None
        for index, one in enumerate(trials):
            with seeded(Draw(one.seed, None).seed_for("global")):
                assembly = assemble(one, registry)
            # a stepper of the whole stack is built for no seed: an elementwise optimizer draws nothing
            context = assembly.context(seed=0)
            weigh = functools.partial(self._state_bytes, assembly, settings.index(settings[index]), context)
            self.members.append(Member(assembly, functools.partial(progress, index), keep, self.size, weigh))
        assert context is not None
        self.places = [one.place for one in trials]
        # the member whose numbers are at each place; the first one's where no trial has the place
        filled = [self.places.index(place) if place in self.places else 0 for place in range(self.size)]
        first = self.members[0].it
        if not isinstance(first.problem, Supervised):
            raise CannotStackError("the problem has no examples held as tensors")
        problem = StackedProblem(first.problem, [self.members[index].it.draw for index in filled])
        try:
            modules = [self.members[index].it.module for index in filled]
            self.module = StackedModule(modules, self.size if rows else 1)
            stepper = optimizer.build_stacked(
                self.module, [settings[index] for index in filled] if rows else settings[:1], context
            )
            self._check_forward(problem)
        except Exception as error:
            raise CannotStackError(Failure.of(error).line) from error
        # the first two dimensions of a stack's parameters count settings and members
        self.decayed = decayed((p for p in self.module.parameters() if p.requires_grad), trial.weight_decay_on, 2)
        objective = Objective(self.module, problem, first.draw, l2=trial.coupled_weight_decay, penalized=self.decayed)
        for member in self.members:
            member.it.objective.counts = objective.counts
        super().__init__(trial, problem, first.draw, objective, stepper, checkpoint)
        total = trial.budget.total_steps(self.steps_per_epoch)
        assert total is not None, "a stack's budget is in epochs or steps"
        self.total = total
        self.lrs = [float(lr) for lr in self.stepper.lrs]
        self._share = 0.0
        self._before: list[torch.Tensor] = []
        self._random = random_state()

    def state(self) -> dict[str, Any]:
        """All that the steps to come and the results depend on."""
        return {
            "step": self.spent.step,
            "seconds": self.spent.seconds,
            "share": self._share,
            "module": self.module.state_dict(),
            "stepper": self.stepper.state_dict(),
            "counts": asdict(self.objective.counts),
            "members": [member.state() for member in self.members],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, of a stack of the same trials. After an error this stack is good for nothing."""
        self.spent.step, self.spent.seconds, self._share = state["step"], state["seconds"], state["share"]
        self.module.load_state_dict(state["module"])
        self.stepper.load_state_dict(state["stepper"])
        for name, count in state["counts"].items():
            setattr(self.objective.counts, name, count)
        for member, own in zip(self.members, state["members"], strict=True):
            member.restore(own)

    def run(self) -> list[Trained]:
        """Train to the end of the budget, or until the last member has ended."""
        with products_of(self.trial):
            if not self.spent.step:
                for member in self.members:
                    member.attempt(member.begin)
            self._random = random_state()
            self.make_steps()
        return [member.trained for member in self.members if member.trained is not None]

    def goes_on(self) -> bool:
        """Whether steps are left, and a member to make them for."""
        return self.spent.step < self.total and any(member.trained is None for member in self.members)

    def before_step(self) -> None:
        """Set the learning rate of each setting, as ``StepRecipe.before`` does for one."""
        schedule, step = self.trial.schedule, self.spent.step
        if not schedule.is_constant:
            share = step / self.total
            one = share - self._share if step else 1 / self.total
            self._share = share
            factor = schedule.factor_at(step, share, one)
            self.stepper.lrs = [lr * factor for lr in self.lrs]
        if self.trial.decoupled_weight_decay:
            self._before = [parameter.detach().clone() for parameter in self.decayed]
        self.problem.losses = None

    @torch.no_grad()
    def after_step(self, report: StepReport) -> None:
        """w <- w - lr c w for each setting, as ``StepRecipe.after`` does for one."""
        if report.info:
            raise CannotStackError("the optimizer tells numbers of its steps")
        if self._before:
            shares = [lr * self.trial.decoupled_weight_decay for lr in self.stepper.lrs]
            for parameter, before in zip(self.decayed, self._before, strict=True):
                for index, share in enumerate(shares):
                    parameter[index].sub_(before[index], alpha=share)

    def check_loss(self) -> None:
        """End the members whose loss is past its bound."""
        if self.problem.losses is None:
            raise CannotStackError("the optimizer took a step without evaluating the loss")
        losses = self.problem.losses.tolist()
        for member, place in zip(self.members, self.places, strict=True):
            if member.trained is None and not abs(losses[place]) <= member.divergence.bound:
                self._tell_spent(member, stepped=True)
                member.check(losses[place])

    def count_step(self, report: StepReport) -> None:
        """Nothing: a stack has no probes, and no problem that pays."""

    def evaluate(self, last: bool) -> None:
        """Evaluate each member that has not ended, in a module of its own."""
        _check_random(self._random)
        lrs = self.stepper.lrs
        each = self.size // len(lrs)
        with self.stepper.evaluation_weights():
            for member, place in zip(self.members, self.places, strict=True):
                if member.trained is None:
                    self._tell_spent(member, stepped=self.spent.step > 0)
                    self.module.write(place, member.it.module)
                    member.look({} if self.trial.schedule.is_constant else {"lr": lrs[place // each]})
                    went_on = member.trained is None
                    if last and went_on:
                        member.end()
                    if went_on:
                        member.progress(self.spent.step, self.total)
        self._random = random_state()

    def _tell_spent(self, member: Member, stepped: bool) -> None:
        """Tell a member the steps so far, and its share of the seconds."""
        member.spent.step, member.spent.seconds = self.spent.step, self.spent.seconds / len(self.members)
        member.stepped = stepped

    def _state_bytes(self, assembly: Assembly, setting: int, context: BuildContext, stepped: bool) -> int | None:
        """The bytes that a member's own stepper has, after a step or before; members of equal settings share them."""
        key = setting, stepped
        if key not in self._bytes:
            try:
                with seeded(0):
                    self._bytes[key] = _bytes_of_own(assembly, context, stepped)
            except Exception:  # a stepper needs no state dict to train
                self._bytes[key] = None
        return self._bytes[key]

    @torch.no_grad()
    def _check_forward(self, problem: StackedProblem) -> None:
        """Check that the losses of the first batch agree with the losses of the members' own modules."""
        batch = problem.batch("train", 0, problem.draws[0])
        with kept_buffers(self.module):
            problem.loss(self.module, batch)
        assert problem.losses is not None
        for member, place in zip(self.members, self.places, strict=True):
            it = member.it
            it.module.train()
            with kept_buffers(it.module):
                alone = it.problem.loss(it.module, it.problem.batch("train", 0, it.draw))
            both = problem.losses[place], alone
            if not torch.allclose(*both, rtol=1e-4, atol=1e-5, equal_nan=True):
                raise CannotStackError(f"stacked, the first loss is {both[0]:.6g} and not {both[1]:.6g}")


def _check_random(before: dict[str, Any]) -> None:
    """CannotStackError where steps drew from the global generators: the numbers would depend on the other members."""
    if not _same(before, random_state()):
        raise CannotStackError("the optimizer or the network draws random numbers in its steps")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(np.array_equal(one, other))


def _bytes_of_own(assembly: Assembly, context: BuildContext, stepped: bool) -> int:
    it, module = assembly, copied(assembly.module)
    stepper = it.optimizer.build(module, it.hyperparameters, context)
    if stepped:
        objective = Objective(module, it.problem, it.draw)
        objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
        stepper.step(objective)
    return stepper.state_bytes()
