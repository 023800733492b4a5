"""The step loop: the one that trains a single trial, and the one that trains a stack of trials."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

import torch

from thalweg.contracts import Draw, LoadedProblem, Stepper, StepReport
from thalweg.contracts.objective import Objective
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.divergence import LOOK_EVERY
from thalweg.training.spent import Spent
from thalweg.trial import Trial


class StepLoop(ABC):
    """Makes steps until the budget is spent, evaluates on declared steps, and saves checkpoints.

    One round of the loop, in order:

    1. draw the batch of the step;
    2. timed: begin the step, ``before_step``, the optimizer's step, ``after_step``, and every few steps ``check_loss``;
    3. ``count_step``, which may measure probes;
    4. on declared steps ``evaluate``, and a checkpoint when one is due.

    The last evaluation follows the last step.

    Args:
        trial: what is trained; of a stack, any of its trials.
        problem: gives the batches.
        draw: decides which batch a step gets.
        objective: what the stepper evaluates.
        stepper: makes the steps.
        checkpoint: where the state is kept; None keeps none.
    """

    def __init__(
        self,
        trial: Trial,
        problem: LoadedProblem,
        draw: Draw,
        objective: Objective,
        stepper: Stepper,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.trial = trial
        self.problem = problem
        self.draw = draw
        self.objective = objective
        self.stepper = stepper
        self.checkpoint = checkpoint
        self.spent = Spent()
        self.steps_per_epoch = problem.steps_per_epoch(draw.batch_size)

    @abstractmethod
    def goes_on(self) -> bool:
        """Whether another step is to be made."""

    @abstractmethod
    def before_step(self) -> None:
        """Prepare the optimizer's step: set the learning rate, and keep the weights that decay needs."""

    @abstractmethod
    def after_step(self, report: StepReport) -> None:
        """Follow the optimizer's step with checks, weight decay and projection."""

    @abstractmethod
    def check_loss(self) -> None:
        """Look at the step's loss, and end a trial that has diverged."""

    @abstractmethod
    def count_step(self, report: StepReport) -> None:
        """Take note of a step that was counted."""

    @abstractmethod
    def evaluate(self, last: bool) -> None:
        """Evaluate what trains; ``last`` after the last step."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the steps to come and the results depend on, ``step`` among it."""

    def make_steps(self) -> None:
        """Run the loop from the step that ``spent`` says."""
        interval = self.trial.evaluate_every
        evaluate_every = interval.steps or (interval.epochs or 1) * self.steps_per_epoch
        look_every = LOOK_EVERY[self.trial.device]
        spent = self.spent
        while self.goes_on():
            batch = self.problem.batch("train", spent.step, self.draw)
            started = time.perf_counter()
            self.objective.begin_step(batch, spent.step)
            self.before_step()
            report = self.stepper.step(self.objective)
            self.after_step(report)
            if spent.step % look_every == 0:
                self.check_loss()
            spent.seconds += time.perf_counter() - started
            spent.step += 1
            self.count_step(report)
            if spent.step % evaluate_every == 0 and self.goes_on():
                self._synchronize()
                self.evaluate(last=False)
                if self.checkpoint is not None and self.checkpoint.due:
                    self.checkpoint.save(self.state())
        self._synchronize()
        self.evaluate(last=True)

    def _synchronize(self) -> None:
        """Let a GPU finish, so that its time is counted where it was spent."""
        if self.trial.device != "cpu":
            started = time.perf_counter()
            torch.accelerator.synchronize()
            self.spent.seconds += time.perf_counter() - started
