"""A stack of trials in training as one program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from thalweg.benchmark_file import Keep
from thalweg.contracts import BuildContext, Draw, StackedStepper, StepReport
from thalweg.contracts.copies import copied
from thalweg.contracts.costs import Counts
from thalweg.contracts.objective import Objective, kept_buffers
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import When
from thalweg.contracts.problem import Split
from thalweg.contracts.supervised import Supervised
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.training.assembly import ActiveProbe, Assembly, assemble
from thalweg.training.checkpoint import Checkpoint, random_state
from thalweg.training.loop import StepLoop
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.training.stacked.agreement import runs_directly
from thalweg.training.stacked.evaluation import evaluate, evaluates
from thalweg.training.stacked.member import Member
from thalweg.training.stacked.problem import StackedProblem
from thalweg.training.stacked.together import BitsDependError, CannotStackError, Kind, Together, is_known, only
from thalweg.training.stacked.witness import keeps_bits
from thalweg.training.trained import Trained
from thalweg.trial import Trial


class StackTraining(StepLoop):
    """Trains trials of one kind as one program, each in a row of its own.

    What a member computes depends on the member alone: not on how many other members there are, who they are, or
    whether they diverge. The first steps show whether the machine's libraries keep to that.

    Args:
        trials: what is trained; they differ in seed, or in hyperparameters where the stack has rows.
        registry: where their components are.
        progress: called with a trial's index, its steps done and all steps.
        keep: which weights are kept of each.
        checkpoint: where the state is kept.
        probes: what is measured of each trial while it trains; nothing where empty.

    Raises:
        BitsDependError: on this machine, the bits of the trials would depend on each other; they train one at a time.
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
        probes: Sequence[list[ActiveProbe]] = (),
    ) -> None:
        trial = trials[0]
        assert trial.stack is not None
        optimizer = registry.optimizer(trial.optimizer.name)
        settings = [resolve(optimizer.options, one.optimizer.settings, optimizer.name) for one in trials]
        self.members: list[Member] = []
        self._bytes: dict[tuple[int, bool], int | None] = {}
        self._first_bytes: int | None = None
        """The stack's state after its first step; a state that grows later is not weighed by one step."""
        context = None
        # the rate is no reason for a state of another size
        weighed = [{**one, "lr": None} if is_known(optimizer) else one for one in settings]
        for index, one in enumerate(trials):
            with seeded(Draw(one.seed, None).seed_for("global")):
                assembly = assemble(one, registry, checked=index > 0)
            # a stepper of the whole stack is built for no seed: an elementwise optimizer draws nothing
            context = assembly.context(seed=0)
            weigh = functools.partial(self._state_bytes, index, assembly, weighed.index(weighed[index]), context)
            own = probes[index] if probes else []
            told = functools.partial(progress, index)
            self.members.append(Member(assembly, told, keep, trial.stack.size, weigh, own))
        assert context is not None
        first = self.members[0].it
        if not isinstance(first.problem, Supervised):
            raise CannotStackError("the problem has no examples held as tensors")
        kind = Kind(trial, optimizer, context, first.problem)
        modules, draws = [member.it.module for member in self.members], [member.it.draw for member in self.members]
        try:
            direct = runs_directly(kind, modules, draws)
            self._it = Together(kind, modules, settings, draws, direct)
            self._check_forward()
            if not keeps_bits(kind, modules, settings, draws, direct):
                raise BitsDependError("the bits of a member depend on how many members train together")
        except CannotStackError:
            raise
        except (Exception, SystemExit) as error:
            raise CannotStackError(Failure.of(error).line) from error
        self.module = self._it.module
        super().__init__(trial, self._it.problem, first.draw, self._it.objective, self._it.stepper, checkpoint)
        total = trial.budget.total_steps(self.steps_per_epoch)
        assert total is not None, "a stack's budget is in epochs or steps"
        self.total = total
        self._share = 0.0
        self._factor: float | None = None
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
            "own_counts": [asdict(counts) for counts in self._it.objective.own_counts],
            "members": [member.state() for member in self.members],
            "first_bytes": self._first_bytes,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, of a stack of the same trials. After an error this stack is good for nothing."""
        self.spent.step, self.spent.seconds, self._share = state["step"], state["seconds"], state["share"]
        self.module.load_state_dict(state["module"])
        self.module.read_rows()
        self.stepper.load_state_dict(state["stepper"])
        self._first_bytes = state.get("first_bytes")
        self._it.objective.counts = Counts(**state["counts"])
        self._it.objective.own_counts = [Counts(**counts) for counts in state["own_counts"]]
        for member, own in zip(self.members, state["members"], strict=True):
            member.restore(own)

    def run(self) -> list[Trained]:
        """Train to the end of the budget, or until the last member has ended."""
        with products_of(self.trial):
            if not self.spent.step:
                self._give(self._values())
                for member in self.members:
                    member.attempt(member.begin)
            self._random = random_state()
            self.make_steps()
        return [member.trained for member in self.members if member.trained is not None]

    def goes_on(self) -> bool:
        """Whether steps are left, and a member to make them for."""
        return self.spent.step < self.total and any(member.trained is None for member in self.members)

    def before_step(self) -> None:
        """Set the learning rates."""
        schedule, step = self.trial.schedule, self.spent.step
        if not schedule.is_constant:
            share = step / self.total
            one = share - self._share if step else 1 / self.total
            self._share = share
            self._factor = schedule.factor_at(step, share, one)
        self._it.objective.trains = [member.trained is None for member in self.members]
        self._it.prepare(self._factor)

    def after_step(self, report: StepReport) -> None:
        """End the members whose step has failed, and decay the weights."""
        for index, (error, counts) in self._it.objective.errors.items():
            member = self.members[index]
            if member.trained is None:
                self._tell_spent(index, stepped=self.spent.step > 0)
                member.it.objective.counts = counts
                member.attempt(functools.partial(_raise, error))
        self._it.finish(report)

    def check_loss(self) -> None:
        """End the members whose loss is past its bound."""
        if self.problem.losses is None:
            raise CannotStackError("the optimizer took a step without evaluating the loss")
        for index, (member, loss) in enumerate(zip(self.members, self.problem.losses.tolist(), strict=True)):
            if member.trained is None and not abs(loss) <= member.divergence.bound:
                self._tell_spent(index, stepped=True)
                member.check(loss)

    def count_step(self, report: StepReport) -> None:
        """Measure the probes that are due, each in a module of the member's own on the member's own batch."""
        step = self.spent.step
        if step == 1:
            self._first_bytes = self._whole_bytes()
        times: list[When] = ["step", "epoch"] if step % self.steps_per_epoch == 0 else ["step"]
        for index, member in enumerate(self.members):
            due = [when for when in times if member.probing.due(when, step)] if member.trained is None else []
            if due:
                self._tell_spent(index, stepped=True)
                self.module.write(index, member.it.module)
                member.it.objective.begin_step(only(self.objective.batch, index, kept=False), step - 1)
                member.attempt(*(functools.partial(member.probe, when) for when in due))

    def evaluate(self, last: bool) -> None:
        """Evaluate each member that has not ended, in a module of its own."""
        _check_random(self._random)
        with self.stepper.evaluation_weights():
            self.module.read_rows()
            self._give(self._values())
            looking = [(index, member) for index, member in enumerate(self.members) if member.trained is None]
            for index, member in looking:
                self._tell_spent(index, stepped=self.spent.step > 0)
                self.module.write(index, member.it.module)
                member.look(
                    self._it.told(index) | ({} if self.trial.schedule.is_constant else {"lr": self._it.lr(index)})
                )
            going = [member for _, member in looking if member.trained is None]
            if last:
                self._give(self._test_values())
                for member in going:
                    member.end()
            for member in going:
                member.progress(self.spent.step, self.total)
        self.module.read_rows()
        self._random = random_state()

    def _give(self, values: Mapping[Split, list[dict[str, float]]]) -> None:
        """Give each member its metrics, where the stack has computed them."""
        for index, member in enumerate(self.members):
            member.given = {split: of_all[index] for split, of_all in values.items()}

    def _values(self) -> dict[Split, list[dict[str, float]]]:
        """The metrics of all members on train and valid; empty where each member is evaluated by itself."""
        if not self._evaluates():
            return {}
        return self._evaluated("train", "valid")

    def _test_values(self) -> dict[Split, list[dict[str, float]]]:
        """The metrics of all members on test, at the weights that validation selects; the rows hold them afterwards."""
        if "test" not in self._sizes or not self._evaluates():
            return {}
        for index, member in enumerate(self.members):
            if member.selected is not None:
                self.module.read(index, member.selected)
        return self._evaluated("test")

    def _evaluated(self, *splits: Split) -> dict[Split, list[dict[str, float]]]:
        """The metrics of all members; empty after an error, so that each member meets its own error by itself."""
        try:
            return {
                split: evaluate(self.module, self.problem.problem, split) for split in splits if split in self._sizes
            }
        except (Exception, SystemExit):  # such as a label that the loss does not know
            return {}

    def _evaluates(self) -> bool:
        """Whether the stack evaluates all members together."""
        averages_norms = self.members[0].it.stepper.averages and any(True for _ in self.module.buffers())
        return not averages_norms and evaluates(self.module, self.problem.problem)

    @property
    def _sizes(self) -> Mapping[str, int]:
        return self.problem.problem.sizes

    def _tell_spent(self, index: int, stepped: bool) -> None:
        """Tell a member the steps and evaluations so far, and its share of the seconds."""
        member = self.members[index]
        member.it.objective.counts = self._it.objective.counts_of(index)
        member.spent.step, member.spent.seconds = self.spent.step, self.spent.seconds / len(self.members)
        member.stepped = stepped

    def _state_bytes(
        self, index: int, assembly: Assembly, setting: int, context: BuildContext, stepped: bool
    ) -> int | None:
        """The bytes that a member's own stepper has, after a step or before; members of equal settings share them."""
        if (known := self.stepper.member_bytes(index)) is not None:
            return known
        if stepped and self._whole_bytes() != self._first_bytes:
            return None
        key = setting, stepped
        if key not in self._bytes:
            try:
                # at the first weights, since an optimizer may fail at the last ones of a member that diverges
                with seeded(0):
                    self._bytes[key] = _bytes_of_own(assembly, copied(self.module.member), context, stepped)
            except (Exception, SystemExit):  # a stepper needs no state dict to train
                self._bytes[key] = None
        return self._bytes[key]

    def _whole_bytes(self) -> int | None:
        """The bytes of the state of all members; None where the optimizer's class does not tell them."""
        try:
            return self.stepper.state_bytes()
        except (Exception, SystemExit):  # a stepper needs no state dict to train
            return None

    @torch.no_grad()
    def _check_forward(self) -> None:
        """Check that the losses of the first batch agree with the losses of the members' own modules."""
        objective = self._it.objective
        objective.begin_step(self._it.problem.batch("train", 0, self._it.problem.draws[0]), 0)
        losses = objective.member_losses()
        for member, stacked in zip(self.members, losses, strict=True):
            it = member.it
            it.module.train()
            with kept_buffers(it.module):
                alone = it.problem.loss(it.module, it.problem.batch("train", 0, it.draw))
            if not torch.allclose(stacked, alone, rtol=1e-4, atol=1e-5, equal_nan=True):
                raise CannotStackError(f"stacked, the first loss is {stacked:.6g} and not {alone:.6g}")


def _raise(error: Exception) -> None:
    raise error


def _check_random(before: dict[str, Any]) -> None:
    """CannotStackError where steps drew from the global generators: the numbers would depend on the other members."""
    if not _same(before, random_state()):
        raise CannotStackError("the optimizer or the network draws random numbers in its steps")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and any(isinstance(value, np.ndarray | torch.Tensor) for value in one):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray | torch.Tensor) else bool(one == other)


def _bytes_of_own(it: Assembly, module: nn.Module, context: BuildContext, stepped: bool) -> int:
    stepper = it.optimizer.build(module, it.hyperparameters, context)
    if stepped:
        objective = Objective(module, it.problem, it.draw)
        objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
        stepper.step(objective)
    return stepper.state_bytes()
