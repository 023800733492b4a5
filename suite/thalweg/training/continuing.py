"""Finds out whether a training can go on from a saved state, by a copy that does so beside the original."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.contracts import Draw, Stepper
from thalweg.contracts.torch_stepper import TorchStepper
from thalweg.failure import Failure
from thalweg.registry import Registry, is_built_in
from thalweg.training.assembly import Assembly, assemble
from thalweg.training.checkpoint import random_state, set_random_state
from thalweg.training.precision import products_of
from thalweg.training.randomness import seeded
from thalweg.training.recipe import StepRecipe
from thalweg.trial import Trial

TRAINED_ANEW = "trained_anew"
"""The key in a trial's summary that says why the trial was trained from the start in spite of a checkpoint."""

BEFORE = 25
"""Steps before the state is saved, so that a count of steps that is not saved shows."""
LEAST_STEPS, MOST_STEPS = 50, 1000
"""Bounds on the steps that the copy makes beside the original, which are otherwise as many as the training had made."""


def cannot_continue(trial: Trial, registry: Registry, steps: int) -> str | None:
    """Why an interruption would change a training with this trial's optimizer; None where it would not.

    The trial is trained for some steps, its state is saved as a checkpoint saves it, and a copy goes on from the saved
    state beside the original. The weights of both must be equal to the bit, and so must the attributes of the optimizer
    that ``state_dict`` does not cover. Both follow the trial's schedule and weight decay: the inner optimizer of a
    wrapper may have a learning rate after loading that the schedule does not reach. Each optimizer with its settings is
    checked once in a process.

    Args:
        trial: the trial that was interrupted.
        registry: where the trial's components are.
        steps: the steps that the training had made at its checkpoint.
    """
    around = trial.schedule.model_dump_json(), trial.decoupled_weight_decay, trial.weight_decay_on
    key = f"{trial.optimizer.model_dump_json()} {around}"
    if key not in _known:
        _known[key] = _found(trial, registry, min(max(LEAST_STEPS, steps), MOST_STEPS))
    return _known[key]


_known: dict[str, str | None] = {}


def _found(trial: Trial, registry: Registry, steps: int) -> str | None:
    name = trial.optimizer.name
    with seeded(Draw(trial.seed, None).seed_for("global")), products_of(trial):
        original = assemble(trial, registry)
        if is_tested(original.stepper):
            return None
        end = BEFORE + steps
        try:
            recipe = _recipe(original, end)
            _train(original, recipe, 0, BEFORE, end)
            file = io.BytesIO()
            states = {"module": original.module.state_dict(), "stepper": original.stepper.state_dict()}
            torch.save(states, file)
            file.seek(0)
            saved = torch.load(file, weights_only=False)
            moment = random_state()
            twin = assemble(trial, registry)
            again = _recipe(twin, end)
            again.restore(recipe.state())
            twin.module.load_state_dict(saved["module"])
            twin.stepper.load_state_dict(saved["stepper"])
        except Exception as error:
            return f"optimizer {name!r} cannot be continued from its state ({Failure.of(error).line})"
        if hidden := _differing(original.stepper, twin.stepper):
            return f"optimizer {name!r} keeps {', '.join(hidden)} outside of its state_dict"
        ends = []
        for it, around in ((original, recipe), (twin, again)):
            set_random_state(moment)
            try:
                _train(it, around, BEFORE, end, end)
            except Exception as error:
                ends.append([Failure.of(error).line])
            else:
                ends.append(_weights(it))
    if not _same(*ends):
        return f"optimizer {name!r} makes other steps after its state was saved and loaded"
    return None


def is_tested(stepper: Stepper) -> bool:
    """Whether the stepper's optimizer is torch's or a built-in, whose states the tests of the project check."""
    cls = type(stepper.optimizer) if isinstance(stepper, TorchStepper) else type(stepper)
    return is_built_in(cls) or cls.__module__.startswith("torch.optim.")


def _recipe(it: Assembly, end: int) -> StepRecipe:
    return StepRecipe(it.trial, it.stepper, it.objective.parameters, 1 / end)


def _train(it: Assembly, recipe: StepRecipe, first: int, last: int, end: int) -> None:
    it.module.train()
    project = functools.partial(it.problem.project, list(it.module.parameters()))
    for step in range(first, last):
        it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
        recipe.before(step, step / end)
        it.stepper.step(it.objective)
        recipe.after()
        it.stepper.project(project)


def _weights(it: Assembly) -> list[Any]:
    """The weights that train, then the weights that are evaluated."""
    found: list[Any] = [tensor.clone() for tensor in it.module.state_dict().values() if isinstance(tensor, Tensor)]
    with it.stepper.evaluation_weights():
        return found + [parameter.detach().clone() for parameter in it.module.parameters()]


def _differing(one: Stepper, other: Stepper) -> list[str]:
    """Names of the attributes whose values differ. Only attributes of numbers, texts and tensors are compared."""
    mine, theirs = _attributes(one), _attributes(other)
    return sorted(name for name in {**mine, **theirs} if not _same(mine.get(name), theirs.get(name)))


def _attributes(stepper: Stepper) -> dict[str, Any]:
    """The attributes of the optimizer behind a stepper, or of the stepper itself."""
    if isinstance(stepper, TorchStepper):
        plain = vars(torch.optim.SGD([torch.zeros(1)])).keys()
        own = {name: value for name, value in vars(stepper.optimizer).items() if name not in plain}
    else:
        own = {name: value for name, value in vars(stepper).items() if not isinstance(value, torch.nn.Module)}
    return {name: value for name, value in own.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return all(_is_plain(item) for item in value)
    if isinstance(value, torch.nn.Parameter):
        return False  # parameters belong to the module
    return value is None or isinstance(value, bool | int | float | complex | str | Tensor)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bool(torch.equal(one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        # keys may be parameters, which differ between the two modules
        return len(one) == len(other) and all(map(_same, one.values(), other.values()))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))
