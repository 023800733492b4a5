"""Trials in training as one program: a stack whose places are filled or padded."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from thalweg.benchmark_file import Keep
from thalweg.contracts import BuildContext, Draw, StackedStepper
from thalweg.contracts.copies import copied
from thalweg.contracts.objective import Objective, kept_buffers
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.training.assembly import Assembly, assemble
from thalweg.training.checkpoint import Checkpoint, random_state
from thalweg.training.loop import _CHECK_EVERY, Trained
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.training.recipe import decayed
from thalweg.training.stacked.member import Member
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.problem import StackedProblem
from thalweg.trial import Trial


class CannotStackError(Exception):
    """These trials do not train as one program: train them one at a time."""


class Group:
    """A stack in training, of which each trial has its own place.

    Places that no trial has are filled with copies, so that every operation has the shapes that it always has. What a
    member computes depends on its place alone then: not on how many others there are, who they are, or whether they
    diverge.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        registry: Registry,
        progress: Callable[[int, int, int], None],
        keep: Keep | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.trial = trials[0]
        assert self.trial.stack is not None
        self.k, rows = self.trial.stack.size, self.trial.stack.rows
        optimizer = registry.optimizer(self.trial.optimizer.name)
        settings = [resolve(optimizer.options, trial.optimizer.settings, optimizer.name) for trial in trials]
        self.members: list[Member] = []
        self.bytes: dict[tuple[int, bool], int | None] = {}
        for index, trial in enumerate(trials):
            with seeded(Draw(trial.seed, None).seed_for("global")):
                assembly = assemble(trial, registry)
            weigh = functools.partial(self._state_bytes, assembly, settings.index(settings[index]))
            self.members.append(Member(assembly, functools.partial(progress, index), keep, self.k, weigh))
        self.places = [trial.place for trial in trials]
        # whose numbers are at each place: a copy of the first trial's where there is none
        filled = [self.places.index(place) if place in self.places else 0 for place in range(self.k)]
        first = self.members[0].it
        if not isinstance(first.problem, Supervised):
            raise CannotStackError("the problem has no examples held as tensors")
        self.problem = StackedProblem(first.problem, [self.members[index].it.draw for index in filled])
        examples = first.problem.sizes["train"]
        # of nobody's seed: what is elementwise draws nothing
        context = BuildContext(0, examples, min(first.draw.batch_size or examples, examples))
        try:
            modules = [self.members[index].it.module for index in filled]
            self.module = StackedModule(modules, self.k if rows else 1)
            self.stepper: StackedStepper = optimizer.build_stacked(
                self.module, [settings[index] for index in filled] if rows else settings[:1], context
            )
            self._check_forward()
        except Exception as error:
            raise CannotStackError(Failure.of(error).line) from error
        # of a stack's parameters two dimensions count settings and members
        self.decayed = decayed((p for p in self.module.parameters() if p.requires_grad), self.trial.weight_decay_on, 2)
        self.objective = Objective(
            self.module, self.problem, first.draw, l2=self.trial.coupled_weight_decay, penalized=self.decayed
        )
        for member in self.members:
            member.it.objective.counts = self.objective.counts
        self.steps_per_epoch = first.problem.steps_per_epoch(first.draw.batch_size)
        self.step = 0
        self.seconds = 0.0
        self.lrs = [float(lr) for lr in self.stepper.lrs]
        self.spent = 0.0
        self.before: list[torch.Tensor] = []

    def state(self) -> dict[str, Any]:
        """All that the steps to come and the results depend on."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "spent": self.spent,
            "module": self.module.state_dict(),
            "stepper": self.stepper.state_dict(),
            "counts": asdict(self.objective.counts),
            "members": [member.state() for member in self.members],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, of a group of the same trials. After an error this one is good for nothing."""
        self.step, self.seconds, self.spent = state["step"], state["seconds"], state["spent"]
        self.module.load_state_dict(state["module"])
        self.stepper.load_state_dict(state["stepper"])
        for name, count in state["counts"].items():
            setattr(self.objective.counts, name, count)
        for member, own in zip(self.members, state["members"], strict=True):
            member.restore(own)

    def _state_bytes(self, assembly: Assembly, setting: int, stepped: bool) -> int | None:
        """Of a stepper of a member's own, after a step or before; the same for members of equal settings."""
        key = setting, stepped
        if key not in self.bytes:
            try:
                with seeded(0):
                    self.bytes[key] = _state_bytes(assembly, stepped)
            except Exception:  # a stepper without a state dict trains all the same
                self.bytes[key] = None
        return self.bytes[key]

    @torch.no_grad()
    def _check_forward(self) -> None:
        """The first batch's losses must be those of the members' own modules: whatever a module does in its forward."""
        batch = self.problem.batch("train", 0, self.problem.draws[0])
        with kept_buffers(self.module):
            self.problem.loss(self.module, batch)
        assert self.problem.losses is not None
        for member, index in zip(self.members, self.places, strict=True):
            it = member.it
            it.module.train()
            with kept_buffers(it.module):
                alone = it.problem.loss(it.module, it.problem.batch("train", 0, it.draw))
            both = self.problem.losses[index], alone
            if not torch.allclose(*both, rtol=1e-4, atol=1e-5, equal_nan=True):
                raise CannotStackError(f"stacked, the first loss is {both[0]:.6g} and not {both[1]:.6g}")

    @property
    def running(self) -> list[Member]:
        """Those that have not ended."""
        return [member for member in self.members if member.trained is None]

    def run(self) -> list[Trained]:
        """Train to the end of the budget, or until the last member has ended."""
        with products_of(self.trial):
            if not self.step:
                for member in self.members:
                    member.begin()
            self._train()
        return [member.trained for member in self.members if member.trained is not None]

    def _train(self) -> None:
        budget, interval = self.trial.budget, self.trial.evaluate_every
        total = budget.steps or (budget.epochs or 1) * self.steps_per_epoch
        evaluate_steps = interval.steps or (interval.epochs or 1) * self.steps_per_epoch
        check_every = _CHECK_EVERY[self.trial.device]
        running = self.running
        random = random_state()
        while running and self.step < total:
            batch = self.problem.batch("train", self.step, self.problem.draws[0])
            started = time.perf_counter()
            self.objective.begin_step(batch, self.step)
            self._before(total)
            self.problem.losses = None
            report = self.stepper.step(self.objective)
            if report.info:
                raise CannotStackError("the optimizer tells numbers of its steps")
            self._after()
            if self.step % check_every == 0:
                running = self._checked(running)
            self.seconds += time.perf_counter() - started
            self.step += 1
            if self.step % evaluate_steps == 0 and self.step < total:
                _check_random(random)
                self._evaluate(running)
                random = random_state()
                running = self.running
                for member in running:
                    member.progress(self.step, total)
                if self.checkpoint is not None and self.checkpoint.due:
                    self.checkpoint.save(self.state())
        _check_random(random)
        if running:
            self._evaluate(running, last=True)
            for member in running:
                member.progress(total, total)

    def _checked(self, running: list[Member]) -> list[Member]:
        """Those whose loss is not past its bound."""
        if self.problem.losses is None:
            raise CannotStackError("the optimizer took a step without evaluating the loss")
        losses = self.problem.losses.tolist()
        late = [
            (member, losses[place])
            for member, place in zip(self.members, self.places, strict=True)
            if not abs(losses[place]) <= member.bound and member.trained is None
        ]
        for member, loss in late:
            self._place(member, stepped=True)
            member.check(loss)
        return self.running if late else running

    def _place(self, member: Member, stepped: bool) -> None:
        member.step, member.seconds, member.stepped = self.step, self.seconds / len(self.members), stepped

    def _evaluate(self, running: list[Member], last: bool = False) -> None:
        if self.trial.device != "cpu":
            started = time.perf_counter()
            torch.accelerator.synchronize()
            self.seconds += time.perf_counter() - started
        lrs = self.stepper.lrs
        each = self.k // len(lrs)
        with self.stepper.evaluation_weights():
            for member, place in zip(self.members, self.places, strict=True):
                if member.trained is None:
                    self._place(member, stepped=self.step > 0)
                    self.module.write(place, member.it.module)
                    member.look({} if self.trial.schedule.is_constant else {"lr": lrs[place // each]})
                    if last and member.trained is None:
                        member.finish()

    def _before(self, total: int) -> None:
        """As ``recipe.Around.before``, for a rate of each setting."""
        schedule = self.trial.schedule
        if not schedule.is_constant:
            spent = self.step / total
            one = spent - self.spent if self.step else 1 / total
            self.spent = spent
            factor = schedule.factor_at(self.step, spent, one)
            self.stepper.lrs = [lr * factor for lr in self.lrs]
        if self.trial.decoupled_weight_decay:
            self.before = [parameter.detach().clone() for parameter in self.decayed]

    @torch.no_grad()
    def _after(self) -> None:
        """w <- w - lr c w, as ``recipe.Around.after``."""
        if self.before:
            shares = [lr * self.trial.decoupled_weight_decay for lr in self.stepper.lrs]
            for parameter, before in zip(self.decayed, self.before, strict=True):
                for index, share in enumerate(shares):
                    parameter[index].sub_(before[index], alpha=share)


def _check_random(before: dict[str, Any]) -> None:
    """Members share the global generators: what steps draw from them would depend on who else is there."""
    if not _same(before, random_state()):
        raise CannotStackError("the optimizer or the network draws random numbers in its steps")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(np.array_equal(one, other))


def _state_bytes(assembly: Assembly, stepped: bool) -> int:
    it, module = assembly, copied(assembly.module)
    context = BuildContext(0, it.problem.sizes["train"], it.batch_size or it.problem.sizes["train"])
    stepper = it.optimizer.build(module, it.hyperparameters, context)
    if stepped:
        objective = Objective(module, it.problem, it.draw)
        objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
        stepper.step(objective)
    return stepper.state_bytes()
