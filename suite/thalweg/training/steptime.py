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


def step_times(trial: Trial, registry: Registry) -> tuple[int, NDArray[np.float64]]:
    """The number of steps in a block, and the seconds of a step in each of ``BLOCKS`` such blocks.

    A step begins when its batch is in memory, as in training: schedule, optimizer with its gradients, decay and
    projection. The device is synchronised at both ends of a block. The trial's seed decides the batches.
    """
    it = assemble(trial, registry)
    it.module.train()
    recipe = StepRecipe(trial, it.stepper, it.objective.parameters, 1e-3)
    project = functools.partial(it.problem.project, list(it.module.parameters()))
    done = 0

    def block(steps: int) -> float:
        nonlocal done
        spent = 0.0
        for _ in range(steps):
            batch = it.problem.batch("train", done, it.draw)
            started = time.perf_counter()
            it.objective.begin_step(batch, done)
            recipe.before(done, 0.0)
            it.stepper.step(it.objective)
            recipe.after()
            it.stepper.project(project)
            spent += time.perf_counter() - started
            done += 1
        if trial.device != "cpu":
            started = time.perf_counter()
            torch.accelerator.synchronize()
            spent += time.perf_counter() - started
        return spent / steps

    warm, count = 0.0, 0
    with products_of(trial):
        while warm < _WARM_UP_SECONDS or count < _LEAST:
            warm += block(1)
            count += 1
        steps = max(_LEAST, round(_BLOCK_SECONDS / (warm / count)))
        return steps, np.array([block(steps) for _ in range(BLOCKS)])
