"""Checks of optimizers' declarations and steps, and the list of all checks of optimizers."""

from __future__ import annotations

import contextlib
from typing import get_args

import torch

from thalweg.contracts import Shape
from thalweg.contracts.architecture import Task
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
from thalweg.testing.optimizer_calls import calls_what_fills_its_state
from thalweg.testing.optimizer_costs import counts_what_it_evaluates
from thalweg.testing.optimizer_effects import changes_nothing_but_the_weights, leaves_the_seeds_alone
from thalweg.testing.optimizer_evaluation import (
    evaluates_at_the_weights_it_means,
    restores_weights_after_evaluation,
    trains_alike_however_often_it_is_evaluated,
)
from thalweg.testing.optimizer_networks import (
    leaves_frozen_weights_alone,
    stays_finite_where_a_gradient_is_zero,
    takes_weights_of_any_shape,
)
from thalweg.testing.optimizer_precision import (
    computes_in_the_precision_of_the_weights,
    keeps_its_state_in_the_precision_of_the_weights,
)
from thalweg.testing.optimizer_rate import follows_a_schedule, has_a_learning_rate
from thalweg.testing.optimizer_state import continues_from_its_state, keeps_no_graph
from thalweg.testing.others import contract
from thalweg.testing.small import Workbench, parting
from thalweg.training.randomness import seeded
from thalweg.training.stacked.elementwise import compare

PATIENCE = 30
"""Steps within which the weights must move: RAdam moves nothing in the first 5, AdaShift in the first 10."""
STACKED = 64
"""Steps of stacked and of single members: some methods couple weights only after 25 steps."""


@condition(
    finds="a ``misfit`` that gives no reason in words",
    means="a benchmark is refused without a reason, or fails while it trains",
)
def says_what_it_cannot_train(registry: Registry, name: str) -> None:
    """``misfit`` answers for every kind of problem, with a reason in words or None."""
    optimizer = registry.optimizer(name)
    hyperparameters = resolve(optimizer.options, {}, name)
    for task in get_args(Task):
        reason = optimizer.misfit(hyperparameters, Shape(task, (6,), (3,)))
        words = reason is None or (isinstance(reason, str) and bool(reason))
        expect(words, f"misfit to give a reason in words or None for {task}", f"{reason!r}")


@condition(
    finds="weights that 30 steps do not change, or make infinite, and gradients that are not counted",
    means="part of the network is not trained, or the trial diverges at the optimizer's defaults",
)
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
        expect(bool(torch.isfinite(parameter).all()), f"finite weights after {step + 1} steps", f"{label} is not")
    expect(not still, f"every parameter to move within {PATIENCE} steps", f"{', '.join(still)} did not")
    counts, least = bench.objective.counts, step + 1
    told = f"{counts.gradient_evaluations} gradients of {counts.examples} examples"
    counted = counts.gradient_evaluations >= least and counts.examples >= least * 16
    expect(counted, f"at least a gradient of 16 examples for each of {least} steps to be counted", told)


@condition(
    finds="random numbers that no seed controls, and state that outlives a stepper",
    means="a trial cannot be repeated, and its cached result is one of many",
)
def is_deterministic(registry: Registry, name: str) -> None:
    """Two runs from one seed are bitwise equal, as two trials of one seed must be."""
    paths = []
    for _ in range(2):
        with seeded(0):
            paths.append(Workbench(registry, name).path(0, PATIENCE))
    place = parting(*paths)
    expect(
        place is None,
        "two runs from one seed to be bitwise equal",
        f"they part at step {place}",
        "draw from torch's, numpy's or Python's global generators, or seed a generator by BuildContext.seed; "
        "nothing may outlive a stepper",
    )


@condition(
    finds="``elementwise = True`` that is wrong within 64 steps",
    means="seeds trained as one program would mix; thalweg trains such trials alone, which takes longer",
)
def stacks(registry: Registry, name: str) -> None:
    """An elementwise optimizer trains three stacked members as it trains each alone: 64 steps, float64, to 1e-12.

    (Both round at 1e-16, and converging steps do not accumulate rounding.) An optimizer may refuse members with
    different hyperparameters by NotImplementedError, but not members with equal ones.
    """
    optimizer = registry.optimizer(name)
    if not optimizer.elementwise:
        raise DoesNotApply("it does not declare elementwise = True")
    defaults = resolve(optimizer.options, {}, name)
    with seeded(0):
        difference = compare(optimizer, [defaults] * 3, steps=STACKED, dtype=torch.float64)
    expected = f"three members trained at once to be those trained alone, {STACKED} steps to 1e-12"
    expect(difference < 1e-12, expected, f"they are {difference:.2g} off: it is not elementwise")
    if "lr" in defaults:
        members = [resolve(optimizer.options, {"lr": defaults["lr"] * share}, name) for share in (1.0, 0.5, 0.25)]
        with contextlib.suppress(NotImplementedError), seeded(0):
            difference = compare(optimizer, members, steps=STACKED, dtype=torch.float64)
            expect(difference < 1e-12, f"{expected}, each with another lr", f"they are {difference:.2g} off")


CHECKS = (
    contract,
    has_a_learning_rate,
    follows_a_schedule,
    says_what_it_cannot_train,
    moves_every_parameter,
    is_deterministic,
    leaves_the_seeds_alone,
    continues_from_its_state,
    keeps_no_graph,
    keeps_its_state_in_the_precision_of_the_weights,
    computes_in_the_precision_of_the_weights,
    calls_what_fills_its_state,
    counts_what_it_evaluates,
    changes_nothing_but_the_weights,
    evaluates_at_the_weights_it_means,
    restores_weights_after_evaluation,
    trains_alike_however_often_it_is_evaluated,
    leaves_frozen_weights_alone,
    stays_finite_where_a_gradient_is_zero,
    takes_weights_of_any_shape,
    stacks,
)
