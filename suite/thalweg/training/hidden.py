"""Finds state that nobody saves: what a third party's network or problem remembers outside of weights and buffers.

Suppose that a network counts its forward passes in an attribute, or that a loss has a running mean. Then the numbers
change after an evaluation, a probe or an interruption, and at the weights that validation selects. So each trial ends
with two checks: a network built anew with an equal ``state_dict`` must give equal losses, and so must the problem
loaded anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Batch, Draw, LoadedProblem
from thalweg.contracts.modes import set_mode
from thalweg.contracts.objective import kept_buffers
from thalweg.registry import is_built_in
from thalweg.training.assembly import Assembly, build_module, load_problem


class HiddenStateError(ValueError):
    """A network or a problem depends on earlier calls, and not on its declared state alone."""


def check_states(it: Assembly) -> None:
    """Compare a trial's network and problem with new ones of equal state. Built-ins are skipped, since tests check
    them.

    Raises:
        HiddenStateError: the new ones give other numbers; the message says what would be right.
        ValueError: the loss of a batch is not the mean of the losses of its examples.
    """
    if not is_built_in(type(it.registry.architecture(it.trial.architecture.name))):
        _check_module(it)
    if not is_built_in(type(it.registry.problem(it.trial.problem.name))):
        _check_problem(it)


def _check_module(it: Assembly) -> None:
    other = build_module(it.trial, it.registry, it.problem, it.draw)
    try:
        other.load_state_dict(it.module.state_dict())
    except Exception:  # the saved state cannot be loaded; the code that loads it will report that
        return
    try:
        for training in (False, True):
            values = []
            for module in (it.module, other):
                problem = load_problem(it.trial, it.registry)
                set_mode(module, training)
                values.append(_loss(problem, module, problem.batch("train", 0, _draw(it)), it))
            if not _equal(*values):
                raise HiddenStateError(
                    f"the network {type(it.module).__name__} depends on more than its state_dict{_named(it, other)}: a "
                    f"batch has the loss {values[0]:.6g}, and {values[1]:.6g} in one built anew with the same state; "
                    "keep what forward changes in buffers (register_buffer) or in extra state (get_extra_state)"
                )
    finally:
        set_mode(it.module, training=True)


def _named(it: Assembly, other: nn.Module) -> str:
    """The attributes in which two networks differ, in brackets."""
    plain = vars(nn.Module()).keys()
    found = [
        f"{name}.{key}" if name else key
        for (name, mine), theirs in zip(it.module.named_modules(), other.modules(), strict=True)
        for key, value in vars(mine).items()
        if key not in plain and _differ(value, vars(theirs).get(key))
    ]
    return f" ({', '.join(found)})" if found else ""


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape != other.shape or not torch.equal(one, other)
    return isinstance(one, int | float | Tensor) and (type(one) is not type(other) or bool(one != other))


def _check_problem(it: Assembly) -> None:
    name = it.trial.problem.name
    fresh = load_problem(it.trial, it.registry)
    for step in range(2):
        now, then = (problem.batch("train", step, _draw(it)) for problem in (it.problem, fresh))
        pairs = ((now.inputs, then.inputs), (now.targets, then.targets))
        if not all(_same(one, other) for one, other in pairs):
            raise HiddenStateError(
                f"problem {name!r} gives another batch of step {step} after training than before: batch must be a "
                "function of split, step and draw alone"
            )
    fresh = load_problem(it.trial, it.registry)
    batch = fresh.batch("train", 0, _draw(it))
    values = [_loss(problem, it.module, batch, it) for problem in (it.problem, fresh)]
    if not _equal(*values):
        raise HiddenStateError(
            f"problem {name!r} has a loss that changes with use: a batch has {values[0]:.6g} after training, and at "
            f"the same weights {values[1]:.6g} where the problem is loaded anew; a loss must be a function of outputs "
            "and targets, and what it learns belongs into the network"
        )
    _check_mean(it, batch)


def _check_mean(it: Assembly, batch: Batch) -> None:
    """Check that the two forms of a loss agree.

    Batches and evaluations use the mean over examples. Stacks and curvature use the losses of the examples.
    """
    problem = load_problem(it.trial, it.registry)
    if problem.output_loss is None or batch.targets is None:
        return
    with torch.no_grad(), kept_buffers(it.module), torch.random.fork_rng():
        outputs = problem.outputs(it.module, batch)
        mean = problem.output_loss.mean(outputs, batch.targets)
        each = problem.output_loss.per_example(outputs, batch.targets).mean()
    if not _equal(mean, each):
        raise ValueError(
            f"{type(problem.output_loss).__name__}.mean gives {mean:.6g}, and the mean of per_example is {each:.6g}: a "
            "loss must be a mean over examples, whatever their number (scale weights of classes so that no sum of "
            "weights divides)"
        )


def _draw(it: Assembly) -> Draw:
    """A new draw with the trial's seed and batch size."""
    return Draw(it.draw.seed, it.draw.batch_size)


def _loss(problem: LoadedProblem, module: nn.Module, batch: Batch, it: Assembly) -> Tensor:
    """The loss of a batch, with equal random draws in each call. Buffers keep their values."""
    with kept_buffers(module), torch.random.fork_rng():
        torch.manual_seed(it.draw.seed_for("hidden"))
        return problem.loss(module, batch).detach()


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and _equal(one, other)
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        return len(one) == len(other) and all(map(_same, one, other))
    return True


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two losses agree to half of their digits, or to a few roundings of the number one.

    Sums are rounded differently where tensors lie differently in memory. A cross-entropy near zero is what is left
    after numbers of the size of one have cancelled.
    """
    eps = torch.finfo(one.dtype).eps if one.is_floating_point() else 0.0
    return torch.allclose(one, other.to(one), rtol=eps**0.5, atol=10 * eps, equal_nan=True)
