"""Trials that differ in seed or in elementwise hyperparameters, trained as one program in a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from thalweg.benchmark_file import Keep
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.stacking import group_key
from thalweg.training.assembly import load_problem
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.continuing import TRAINED_ANEW, cannot_continue
from thalweg.training.rate import check_rate
from thalweg.training.stacked.problem import misfit
from thalweg.training.stacked.stack import CannotStackError, StackTraining
from thalweg.training.stacked.stackable import may_not
from thalweg.training.trained import Trained
from thalweg.trial import Trial


def train_together(
    trials: Sequence[Trial],
    registry: Registry,
    progress: Callable[[int, int, int], None] = lambda *_: None,
    keep: Keep | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Trained]:
    """Train trials in a stack: what each gives depends on its own place alone, to the bit.

    It is what the trial gives alone up to rounding: one step from equal weights to rounding, in float64 to 1e-12 over
    100 steps. Rounding grows in float32 as it does between two machines: a gradient that is zero but for rounding (of a
    bias before batch norm) is a full step to Adam and its like where it is not far below their ``eps``.

    Seconds are the stack's over the number of trials. ``batched`` in the summary is the stack's size. A member that
    diverges ends where it would have ended alone.

    Args:
        trials: of one ``group_key``, each with a place of its own.
        registry: where their components are.
        progress: called with a trial's index, its steps done and all of them.
        keep: which weights to keep of each.
        checkpoint: where to keep the stack's state, and to go on from if it is there.

    Raises:
        CannotStackError: they cannot train together, and why.
    """
    if len({group_key(trial) for trial in trials}) != 1:
        raise CannotStackError("trials differ in more than seed and hyperparameters")
    if trials[0].stack is None or len({trial.place for trial in trials}) != len(trials):
        raise CannotStackError("each trial needs a place of its own in the stack")
    if reason := may_not(trials[0], registry) or misfit(load_problem(trials[0], registry)):
        raise CannotStackError(reason)
    check_rate(trials[0], registry)
    state = None if checkpoint is None else checkpoint.load()
    refused = "" if checkpoint is None else checkpoint.refused
    anew = refused if state is None else cannot_continue(trials[0], registry, state["step"]) or ""
    stack = StackTraining(trials, registry, progress, keep, checkpoint)
    if state is not None and not anew:
        try:
            stack.restore(state)
        except Exception as error:  # from the start, with parts of its own
            anew = f"its state could not be loaded ({Failure.of(error).line})"
            stack = StackTraining(trials, registry, progress, keep, checkpoint)
    trained = stack.run()
    for one in trained:
        one.summary |= {TRAINED_ANEW: anew} if anew else {}
    return trained
