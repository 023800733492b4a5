"""Checks that an optimizer steps with the learning rate that a schedule sets."""

from __future__ import annotations

from typing import Any

import torch

from thalweg.contracts import Draw
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.training.assembly import Assembly, assemble
from thalweg.training.checkpoint import random_state, set_random_state
from thalweg.training.continuing import is_tested
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.trial import Trial

BEFORE, AFTER = 3, 47
"""Steps at the first learning rate, then the most steps at half of it. An optimizer that warms up needs many."""


def check_rate(trial: Trial, registry: Registry) -> None:
    """Refuse a schedule that does not reach the optimizer's steps.

    A wrapper is an example, if its inner optimizer has parameter groups of its own. The trial is begun twice. The
    second time the learning rate is halved after some steps, and then the weights must differ. Each optimizer with its
    settings is checked once in a process; optimizers of thalweg and torch are not, since tests check them.

    Raises:
        UserError: the weights are equal to the bit.
    """
    if trial.schedule.is_constant:
        return
    key = trial.optimizer.model_dump_json()
    if key not in _ignores:
        _ignores[key] = _ignores_rate(trial, registry)
    if _ignores[key]:
        raise UserError(
            f"optimizer {trial.optimizer.name!r} steps as before when its lr is halved in mid-training, so it follows "
            "no schedule: let step read group['lr'] of its own parameter groups each time, or leave the schedule out"
        )


_ignores: dict[str, bool] = {}


def _ignores_rate(trial: Trial, registry: Registry) -> bool:
    with seeded(Draw(trial.seed, None).seed_for("global")), products_of(trial):
        if is_tested(assemble(trial, registry).stepper):
            return False
        moment = random_state()
        twins = []
        for _ in range(2):
            set_random_state(moment)
            it = assemble(trial, registry)
            it.module.train()
            twins.append([it, random_state(), it.stepper.lr])
        try:
            return all(_equal_after(step, twins) for step in range(BEFORE + AFTER))
        except (Exception, SystemExit):  # training will meet the error and report it
            return False


def _equal_after(step: int, twins: list[list[Any]]) -> bool:
    """Make a step with both twins, and tell whether their weights are then equal to the bit."""
    for number, twin in enumerate(twins):
        it: Assembly = twin[0]
        set_random_state(twin[1])
        if step >= BEFORE and number:
            it.stepper.lr = twin[2] / 2  # before each step, as a schedule does: some classes set lr themselves
        it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
        it.stepper.step(it.objective)
        twin[1] = random_state()
    pairs = zip(*(twin[0].module.parameters() for twin in twins), strict=True)
    return step < BEFORE or all(torch.equal(*pair) for pair in pairs)
