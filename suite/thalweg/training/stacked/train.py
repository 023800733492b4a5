"""Trains trials that differ in seed or in elementwise hyperparameters as one program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from thalweg.benchmark_file import Keep
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.stacking import group_key
from thalweg.training.assembly import ActiveProbe, load_problem
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.continuing import TRAINED_ANEW, cannot_continue
from thalweg.training.rate import check_rate
from thalweg.training.stacked.problem import misfit
from thalweg.training.stacked.stack import StackTraining
from thalweg.training.stacked.stackable import may_not
from thalweg.training.stacked.together import BitsDependError, CannotStackError
from thalweg.training.trained import Trained
from thalweg.trial import Trial


def train_together(
    trials: Sequence[Trial],
    registry: Registry,
    progress: Callable[[int, int, int], None] = lambda *_: None,
    keep: Keep | None = None,
    checkpoint: Checkpoint | None = None,
    probes: Sequence[list[ActiveProbe]] = (),
) -> list[Trained]:
    """Train trials in a stack. The bits of a trial's result do not depend on the other trials.

    The result agrees with that of the trial alone up to rounding: one step from equal weights to rounding, and 100
    steps in float64 to 1e-12. In float32 rounding errors grow as between two machines. An example is a gradient that is
    zero but for rounding, such as that of a bias before batch norm: Adam makes a full step of it unless it is far below
    ``eps``.

    Each trial gets an equal share of the stack's seconds. ``batched`` in the summary is the size of the stack. A trial
    that diverges ends where it would have ended alone.

    Args:
        trials: the trials, with equal ``group_key``.
        registry: where their components are.
        progress: called with a trial's index, its steps done and all its steps.
        keep: which weights are kept of each trial.
        checkpoint: where the state of the stack is kept. A state that is there already is gone on from.
        probes: what is measured of each trial while it trains; nothing where empty.

    Raises:
        CannotStackError: the trials cannot train together; the message says why.
    """
    if len({group_key(trial) for trial in trials}) != 1:
        raise CannotStackError("trials differ in more than seed and hyperparameters")
    if trials[0].stack is None:
        raise CannotStackError("these trials train alone")
    if reason := may_not(trials[0], registry) or misfit(load_problem(trials[0], registry)):
        raise CannotStackError(reason)
    check_rate(trials[0], registry)
    # those of equal settings next to each other, since they share what an optimizer does once for a setting
    settings = [trial.optimizer.settings for trial in trials]
    order = sorted(range(len(trials)), key=lambda index: settings.index(settings[index]))

    def report(index: int, done: int, total: int) -> None:
        progress(order[index], done, total)

    ordered = [trials[index] for index in order]
    looking = [probes[index] for index in order] if probes else [[] for _ in order]
    try:
        trained = _trained(ordered, registry, report, keep, checkpoint, looking)
    except BitsDependError:
        trained = [
            _trained([trial], registry, functools.partial(_as_member, report, index), keep, None, [looking[index]])[0]
            for index, trial in enumerate(ordered)
        ]
    return [trained[order.index(index)] for index in range(len(trials))]


def _as_member(report: Callable[[int, int, int], None], index: int, _: int, done: int, total: int) -> None:
    report(index, done, total)


def _trained(
    trials: Sequence[Trial],
    registry: Registry,
    progress: Callable[[int, int, int], None],
    keep: Keep | None,
    checkpoint: Checkpoint | None,
    probes: Sequence[list[ActiveProbe]],
) -> list[Trained]:
    """Train one stack, from its checkpoint where that can be gone on from."""
    state = None if checkpoint is None else checkpoint.load()
    refused = "" if checkpoint is None else checkpoint.refused
    anew = refused if state is None else cannot_continue(trials[0], registry, state["step"]) or ""
    stack = StackTraining(trials, registry, progress, keep, checkpoint, probes)
    if state is not None and not anew:
        try:
            stack.restore(state)
        except Exception as error:  # train from the start, with new parts
            anew = f"its state could not be loaded ({Failure.of(error).line})"
            stack = StackTraining(trials, registry, progress, keep, checkpoint, probes)
    trained = stack.run()
    for one in trained:
        one.summary |= {TRAINED_ANEW: anew} if anew else {}
    return trained
