"""Checks of optimizers' declarations and steps."""

from __future__ import annotations

import contextlib
from typing import get_args

import torch

from thalweg.contracts import Shape
from thalweg.contracts.architecture import Task
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.testing.optimizer_calls import calls_what_fills_its_state
from thalweg.testing.optimizer_effects import (
    changes_nothing_but_the_weights,
    evaluates_at_the_weights_it_means,
    leaves_the_seeds_alone,
    restores_weights_after_evaluation,
)
from thalweg.testing.optimizer_state import continues_from_its_state, keeps_its_state_in_the_precision_of_the_weights
from thalweg.testing.others import contract
from thalweg.testing.small import Workbench, parting
from thalweg.training.randomness import seeded
from thalweg.training.stacked.elementwise import compare

PATIENCE = 30
"""Steps within which the weights must move: RAdam moves nothing in the first 5, AdaShift in the first 10."""
STACKED = 64
"""Steps of stacked and of single members: some methods couple weights only after 25 steps."""


def has_a_learning_rate(registry: Registry, name: str) -> None:
    """The stepper's lr can be read and set, as schedules do, and has an effect, unless ``has_lr`` is false."""
    optimizer = registry.optimizer(name)
    declared = "lr" in [option.name for option in optimizer.options]
    assert optimizer.has_lr or not declared, "expected has_lr to be true where 'lr' is an option, and it is false"
    if not optimizer.has_lr:
        return
    with seeded(0):
        bench, slow = Workbench(registry, name), Workbench(registry, name)
        try:
            lr = bench.stepper.lr
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise AssertionError(
                f"expected the stepper to have an lr, or has_lr = False; reading it: {told}"
            ) from error
        slow.stepper.lr = lr / 8
        assert slow.stepper.lr == lr / 8, f"expected lr to be {lr / 8} after setting it, and it is {slow.stepper.lr}"
    with seeded(0):
        fast_path = bench.path(0, PATIENCE)
    with seeded(0):
        slow_path = slow.path(0, PATIENCE)
    apart = parting(fast_path, slow_path) is not None
    assert apart, (
        f"expected other weights with an eighth of lr, and {PATIENCE} steps end at equal weights: lr has no effect"
    )


def says_what_it_cannot_train(registry: Registry, name: str) -> None:
    """``misfit`` answers for every kind of problem, with a reason in words or None."""
    optimizer = registry.optimizer(name)
    hyperparameters = resolve(optimizer.options, {}, name)
    for task in get_args(Task):
        reason = optimizer.misfit(hyperparameters, Shape(task, (6,), (3,)))
        words = reason is None or (isinstance(reason, str) and reason)
        assert words, f"expected misfit to give a reason in words or None for {task}, and it gave {reason!r}"


def moves_every_parameter(registry: Registry, name: str) -> None:
    """Thirty steps change every parameter, keep it finite, and are counted by the objective."""
    with seeded(0):
        bench = Workbench(registry, name)
        before = [parameter.detach().clone() for parameter in bench.module.parameters()]
        for step in range(PATIENCE):
            bench.steps(step, step + 1)
            still = [
                label
                for (label, parameter), old in zip(bench.module.named_parameters(), before, strict=True)
                # the gradient of a bias before batch norm is rounding errors, which some methods scale up
                if label != "0.bias" and torch.equal(parameter, old)
            ]
            if step >= 2 and not still:
                break
    for label, parameter in bench.module.named_parameters():
        assert bool(torch.isfinite(parameter).all()), f"expected finite weights after {step + 1} steps: {label} is not"
    assert not still, f"expected every parameter to move within {PATIENCE} steps, and {', '.join(still)} did not"
    counts, least = bench.objective.counts, step + 1
    told = f"{counts.gradient_evaluations} gradients of {counts.examples} examples"
    counted = counts.gradient_evaluations >= least and counts.examples >= least * 16
    assert counted, f"expected at least a gradient of 16 examples for each of {least} steps, and {told} were counted"


def is_deterministic(registry: Registry, name: str) -> None:
    """Two runs from one seed are bitwise equal, as two trials of one seed must be."""
    paths = []
    for _ in range(2):
        with seeded(0):
            paths.append(Workbench(registry, name).path(0, PATIENCE))
    place = parting(*paths)
    assert place is None, (
        f"expected two runs from one seed to be bitwise equal, and they part at step {place}: random numbers come from "
        "torch's, numpy's or Python's global generators, or from BuildContext.seed, and nothing outlives a stepper"
    )


def stacks(registry: Registry, name: str) -> None:
    """An elementwise optimizer trains three stacked members as it trains each alone: 64 steps, float64, to 1e-12.

    (Both round at 1e-16, and converging steps do not accumulate rounding.) An optimizer may refuse members with
    different hyperparameters by NotImplementedError, but not members with equal ones.
    """
    optimizer = registry.optimizer(name)
    if not optimizer.elementwise:
        return
    defaults = resolve(optimizer.options, {}, name)
    with seeded(0):
        difference = compare(optimizer, [defaults] * 3, steps=STACKED, dtype=torch.float64)
    expected = f"expected three members trained at once to be those trained alone, {STACKED} steps to 1e-12"
    assert difference < 1e-12, f"{expected}, and they are {difference:.2g} off: it is not elementwise"
    if "lr" in defaults:
        members = [resolve(optimizer.options, {"lr": defaults["lr"] * share}, name) for share in (1.0, 0.5, 0.25)]
        with contextlib.suppress(NotImplementedError), seeded(0):
            difference = compare(optimizer, members, steps=STACKED, dtype=torch.float64)
            assert difference < 1e-12, f"{expected}, each with another lr, and they are {difference:.2g} off"


CHECKS = (
    contract,
    has_a_learning_rate,
    says_what_it_cannot_train,
    moves_every_parameter,
    is_deterministic,
    leaves_the_seeds_alone,
    continues_from_its_state,
    keeps_its_state_in_the_precision_of_the_weights,
    calls_what_fills_its_state,
    changes_nothing_but_the_weights,
    evaluates_at_the_weights_it_means,
    restores_weights_after_evaluation,
    stacks,
)
