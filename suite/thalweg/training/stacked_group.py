"""K trials in training as one program."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from thalweg.benchmark_file import Keep
from thalweg.contracts import BuildContext, Draw, StackedStepper
from thalweg.contracts.objective import Objective, kept_buffers
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.training.assembly import Assembly, assemble
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.loop import _CHECK_EVERY, Trained
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.training.recipe import decayed
from thalweg.training.stacked_member import Member
from thalweg.training.stacked_module import StackedModule
from thalweg.training.stacked_problem import StackedProblem
from thalweg.trial import Trial


class CannotStackError(Exception):
    """These trials do not train as one program: train them one at a time."""


class Group:
    """K members in training."""

    def __init__(
        self,
        trials: Sequence[Trial],
        registry: Registry,
        progress: Callable[[int, int, int], None],
        keep: Keep | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.k = len(trials)
        self.trial = trials[0]
        optimizer = registry.optimizer(self.trial.optimizer.name)
        settings = [resolve(optimizer.options, trial.optimizer.settings, optimizer.name) for trial in trials]
        self.order, distinct = arranged(settings)
        self.members: list[Member] = []
        self.bytes: dict[tuple[int, bool], int | None] = {}
        for index in self.order:
            with seeded(Draw(trials[index].seed, None).seed_for("global")):
                assembly = assemble(trials[index], registry)
            weigh = functools.partial(self._state_bytes, assembly, settings.index(settings[index]))
            self.members.append(Member(assembly, functools.partial(progress, index), keep, self.k, weigh))
        first = self.members[0].it
        if not isinstance(first.problem, Supervised):
            raise CannotStackError("the problem has no examples held as tensors")
        self.problem = StackedProblem(first.problem, [member.it.draw for member in self.members])
        examples = first.problem.sizes["train"]
        context = BuildContext(
            first.draw.seed_for("optimizer"), examples, min(first.draw.batch_size or examples, examples)
        )
        try:
            self.module = StackedModule([member.it.module for member in self.members], len(distinct))
            self.stepper: StackedStepper = optimizer.build_stacked(self.module, distinct, context)
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
        for index in {0, self.k - 1}:
            it = self.members[index].it
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
        results = dict(zip(self.order, (member.trained for member in self.members), strict=True))
        return [trained for _, trained in sorted(results.items()) if trained is not None]

    def _train(self) -> None:
        budget, interval = self.trial.budget, self.trial.evaluate_every
        total = budget.steps or (budget.epochs or 1) * self.steps_per_epoch
        evaluate_steps = interval.steps or (interval.epochs or 1) * self.steps_per_epoch
        check_every = _CHECK_EVERY[self.trial.device]
        running = self.running
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
                self._evaluate(running)
                running = self.running
                for member in running:
                    member.progress(self.step, total)
                if self.checkpoint is not None and self.checkpoint.due:
                    self.checkpoint.save(self.state())
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
            (member, loss)
            for member, loss in zip(self.members, losses, strict=True)
            if not abs(loss) <= member.bound and member.trained is None
        ]
        for member, loss in late:
            self._place(member, stepped=True)
            member.check(loss)
        return self.running if late else running

    def _place(self, member: Member, stepped: bool) -> None:
        member.step, member.seconds, member.stepped = self.step, self.seconds / self.k, stepped

    def _evaluate(self, running: list[Member], last: bool = False) -> None:
        if self.trial.device != "cpu":
            started = time.perf_counter()
            torch.accelerator.synchronize()
            self.seconds += time.perf_counter() - started
        lrs = self.stepper.lrs
        each = self.k // len(lrs)
        with self.stepper.evaluation_weights():
            for index, member in enumerate(self.members):
                if member.trained is None:
                    self._place(member, stepped=self.step > 0)
                    self.module.write(index, member.it.module)
                    member.look({} if self.trial.schedule.is_constant else {"lr": lrs[index // each]})
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


def arranged(settings: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[Mapping[str, Any]]]:
    """An order of members in which equal settings stand side by side, and D settings, each for K/D members in a row.

    D is as small as it can be with as many members to each: what is as often as others stands there once.

    >>> arranged([{"lr": 1}, {"lr": 2}, {"lr": 1}, {"lr": 2}])
    ([0, 2, 1, 3], [{'lr': 1}, {'lr': 2}])
    """
    places: dict[str, list[int]] = {}
    for index, setting in enumerate(settings):
        places.setdefault(repr(sorted(setting.items())), []).append(index)
    each = math.gcd(*[len(indices) for indices in places.values()])
    order = [index for indices in places.values() for index in indices]
    return order, [settings[order[start]] for start in range(0, len(order), each)]


def _state_bytes(assembly: Assembly, stepped: bool) -> int:
    it, module = assembly, copy.deepcopy(assembly.module)
    context = BuildContext(0, it.problem.sizes["train"], it.batch_size or it.problem.sizes["train"])
    stepper = it.optimizer.build(module, it.hyperparameters, context)
    if stepped:
        objective = Objective(module, it.problem, it.draw)
        objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
        stepper.step(objective)
    return stepper.state_bytes()
