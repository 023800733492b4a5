"""Whether the rate that a schedule sets is the one that an optimizer steps with."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.contracts import Draw
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.training.continuing import is_ours
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.trial import Trial

BEFORE, AFTER = 10, 40
"""Steps at the rate that an optimizer was built with, and at another one: some only warm up at first."""


def check_rate(trial: Trial, registry: Registry) -> None:
    """Refuse a schedule that does not reach the steps, as of a wrapper whose inner optimizer has groups of its own.

    The trial is begun twice. The second time the rate is halved after some steps: the weights must then differ. Asked
    once for an optimizer with its settings; those of thalweg and torch are tested instead.

    Raises:
        UserError: they are the same, to the bit.
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
    if is_ours(assemble(trial, registry).stepper):
        return False
    try:
        ends = [_weights(trial, registry, factor) for factor in (1.0, 0.5)]
    except Exception:  # training will tell of it
        return False
    return all(torch.equal(*pair) for pair in zip(*ends, strict=True))


def _weights(trial: Trial, registry: Registry, factor: float) -> list[Tensor]:
    """Those after some steps at the rate and some at ``factor`` times it."""
    with seeded(Draw(trial.seed, None).seed_for("global")), products_of(trial):
        it = assemble(trial, registry)
        it.module.train()
        lr = it.stepper.lr
        for step in range(BEFORE + AFTER):
            if step >= BEFORE:
                it.stepper.lr = lr * factor
            it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
            it.stepper.step(it.objective)
        return [parameter.detach().clone() for parameter in it.module.parameters()]
