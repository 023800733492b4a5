"""Times an optimizer's step by itself, after a warm-up, without evaluations and probes."""

from __future__ import annotations

import functools
import time

import numpy as np
import torch
from numpy.typing import NDArray

from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.training.precision import products_of
from thalweg.training.recipe import StepRecipe
from thalweg.trial import Trial

BLOCKS = 10
_BLOCK_SECONDS = 0.1
_WARM_UP_SECONDS = 0.5
_LEAST = 3
"""The least number of steps in a block and in the warm-up, however long a step takes."""


class StepTimer:
    """Makes and times steps of a trial.

    A step begins when its batch is in memory, as in training: schedule, optimizer with its gradients, decay and
    projection. The device is synchronised at the end of a block. The trial's seed decides the batches.
    """

    def __init__(self, trial: Trial, registry: Registry) -> None:
        self.trial = trial
        self.parts = assemble(trial, registry)
        self.parts.module.train()
        self.recipe = StepRecipe(trial, self.parts.stepper, self.parts.objective.parameters, 1e-3)
        self.project = functools.partial(self.parts.problem.project, list(self.parts.module.parameters()))
        self.done = 0

    def block(self, steps: int) -> float:
        """The seconds of a step, as the mean of so many."""
        it, spent = self.parts, 0.0
        with products_of(self.trial):
            for _ in range(steps):
                batch = it.problem.batch("train", self.done, it.draw)
                started = time.perf_counter()
                it.objective.begin_step(batch, self.done)
                self.recipe.before(self.done, 0.0)
                it.stepper.step(it.objective)
                self.recipe.after()
                it.stepper.project(self.project)
                spent += time.perf_counter() - started
                self.done += 1
            if self.trial.device != "cpu":
                started = time.perf_counter()
                torch.accelerator.synchronize()
                spent += time.perf_counter() - started
        return spent / steps

    def warm_up(self) -> int:
        """Make steps until their time is steady; the number of steps that take about a tenth of a second."""
        warm, count = 0.0, 0
        while warm < _WARM_UP_SECONDS or count < _LEAST:
            warm += self.block(1)
            count += 1
        return max(_LEAST, round(_BLOCK_SECONDS / (warm / count)))


def step_times(trial: Trial, registry: Registry) -> tuple[int, NDArray[np.float64]]:
    """The number of steps in a block, and the seconds of a step in each of ``BLOCKS`` such blocks."""
    timer = StepTimer(trial, registry)
    steps = timer.warm_up()
    return steps, np.array([timer.block(steps) for _ in range(BLOCKS)])
