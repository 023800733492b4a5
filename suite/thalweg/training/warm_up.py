"""Makes a few steps before a budget of seconds begins, so that compiling counts as no training."""

from __future__ import annotations

import time

from thalweg.contracts import Draw
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.trial import Trial

STEPS = 3


def warm_up(trial: Trial, registry: Registry) -> float:
    """Make the first steps of a trial with parts that are then thrown away; the seconds that they took.

    An optimizer or a module that compiles itself has its code afterwards. Errors are ignored here, because training
    meets them again and reports them.
    """
    started = time.perf_counter()
    try:
        with seeded(Draw(trial.seed, None).seed_for("global")), products_of(trial):
            it = assemble(trial, registry)
            it.module.train()
            for step in range(STEPS):
                it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
                it.stepper.step(it.objective)
            it.problem.evaluate(it.module.eval(), "train")
    except (Exception, SystemExit):
        pass
    return time.perf_counter() - started
