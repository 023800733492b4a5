"""Trials that differ in seed or in elementwise hyperparameters, trained as one program."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch

from thalweg.benchmark_file import Keep
from thalweg.contracts.optimizer import Optimizer
from thalweg.contracts.option import resolve
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.training.assembly import load_problem
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.continuing import TRAINED_ANEW, cannot_continue
from thalweg.training.loop import Trained
from thalweg.training.stacked_group import CannotStackError, Group
from thalweg.training.stacked_problem import misfit
from thalweg.trial import Trial


def group_key(trial: Trial) -> str:
    """Trials of equal keys may train together: all but the seed and the numbers among the hyperparameters is equal."""
    words = {
        name: value
        for name, value in trial.optimizer.settings.items()
        if isinstance(value, bool) or not isinstance(value, int | float)
    }
    optimizer = trial.optimizer.model_copy(update={"options": words, "files": {}})
    document = trial.model_copy(update={"optimizer": optimizer, "seed": 0}).canonical()
    return json.dumps([document, trial.problem.files, trial.architecture.files], sort_keys=True)


def may_fit(trial: Trial, registry: Registry) -> str | None:
    """As ``fits_together``, but the problem is not loaded and not looked at."""
    optimizer = registry.optimizer(trial.optimizer.name)
    if not optimizer.elementwise:
        return f"optimizer {optimizer.name!r} is not elementwise"
    if not _stacks_what_it_builds(optimizer):
        return f"optimizer {optimizer.name!r} builds steppers of its own, and stacked ones that are another's"
    architecture = registry.architecture(trial.architecture.name)
    options = resolve(architecture.options, trial.architecture.settings, architecture.name)
    if architecture.draws_in_forward(options):
        return f"architecture {architecture.name!r} draws random numbers in its forward pass"
    if trial.budget.seconds is not None or trial.budget.gradient_evaluations is not None:
        return f"the budget of {trial.budget} is not one of epochs or steps"
    if trial.precision == "mixed-bfloat16":
        return "numbers of 8 bits do not agree within the tolerance of a group"
    if trial.clip_norm is not None:
        return "gradients are clipped to a norm"
    lr = resolve(optimizer.options, trial.optimizer.settings, optimizer.name).get("lr")
    if trial.decoupled_weight_decay and (
        lr is None or not lr * trial.decoupled_weight_decay <= torch.finfo(getattr(torch, trial.dtype)).max
    ):
        return "weights decay by more than numbers can hold"
    return None


def _stacks_what_it_builds(optimizer: Optimizer) -> bool:
    """Not where a subclass has a ``build`` of its own and the ``build_stacked`` of a class before it."""
    of_build, of_stacked = (
        next(cls for cls in type(optimizer).__mro__ if name in vars(cls)) for name in ("build", "build_stacked")
    )
    return of_stacked is Optimizer or issubclass(of_stacked, of_build)


def fits_together(trial: Trial, registry: Registry) -> str | None:
    """Why a trial trains alone, or None where it can train together with those of the same ``group_key``.

    Loads the trial's problem. A module that cannot be stacked is found out by ``train_together`` only.
    """
    return may_fit(trial, registry) or misfit(load_problem(trial, registry))


def train_together(
    trials: Sequence[Trial],
    registry: Registry,
    progress: Callable[[int, int, int], None] = lambda *_: None,
    keep: Keep | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Trained]:
    """Train K trials as one program: what each of them gives alone, up to rounding, and ``batched: K`` in the summary.

    Seconds are those of the group over K. A member that diverges ends where it would have ended alone.

    A gradient that is zero but for rounding (of a bias before batch norm) is a full step to Adam and its like where it
    is not far below their ``eps``: so in float32 such trials agree only as well as they do between two machines.

    Args:
        trials: of one ``group_key``.
        registry: where their components are.
        progress: called with a trial's index, its steps done and all of them.
        keep: which weights to keep of each.
        checkpoint: where to keep the group's state, and to go on from if it is there.

    Raises:
        CannotStackError: they cannot train together, and why.
    """
    if len({group_key(trial) for trial in trials}) != 1:
        raise CannotStackError("trials differ in more than seed and hyperparameters")
    if reason := fits_together(trials[0], registry):
        raise CannotStackError(reason)
    state = None if checkpoint is None else checkpoint.load()
    anew = "" if state is None else cannot_continue(trials[0], registry, state["step"]) or ""
    group = Group(trials, registry, progress, keep, checkpoint)
    if state is not None and not anew:
        try:
            group.restore(state)
        except Exception as error:  # from the start, with parts of its own
            anew = f"its state could not be loaded ({Failure.of(error).line})"
            group = Group(trials, registry, progress, keep, checkpoint)
    trained = group.run()
    for one in trained:
        one.summary |= {TRAINED_ANEW: anew} if anew else {}
    return trained
