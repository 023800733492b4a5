"""Checks of optimizers."""

from __future__ import annotations

import contextlib
import copy
from typing import get_args

import torch

from thalweg.contracts import Shape
from thalweg.contracts.architecture import Task
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.testing.others import contract
from thalweg.testing.small import Workbench, same
from thalweg.testing.stacked import compare


def has_a_learning_rate(registry: Registry, name: str) -> None:
    """The stepper's lr can be read and set, as schedules do."""
    bench, slow = Workbench(registry, name), Workbench(registry, name)
    lr = bench.stepper.lr
    slow.stepper.lr = lr / 8
    assert slow.stepper.lr == lr / 8, f"lr was set to {lr / 8} and is {slow.stepper.lr}"
    bench.steps(0, 2)
    slow.steps(0, 2)
    assert not same(bench.weights(), slow.weights()), "two steps at an eighth of the lr end at the same weights"


def says_what_it_cannot_train(registry: Registry, name: str) -> None:
    """``misfit`` answers for every kind of problem, with a reason in words or None."""
    optimizer = registry.optimizer(name)
    hyperparameters = resolve(optimizer.options, {}, name)
    for task in get_args(Task):
        reason = optimizer.misfit(hyperparameters, Shape(task, (6,), (3,)))
        assert reason is None or (isinstance(reason, str) and reason), f"misfit returned {reason!r} for {task}"


def moves_every_parameter(registry: Registry, name: str) -> None:
    """Three steps change every parameter, keep it finite, and are counted by the objective."""
    bench = Workbench(registry, name)
    before = [parameter.detach().clone() for parameter in bench.module.parameters()]
    bench.steps(0, 3)
    for (label, parameter), old in zip(bench.module.named_parameters(), before, strict=True):
        # a bias before batch norm has a gradient of rounding errors, which some methods divide away
        assert bool(torch.isfinite(parameter).all()), f"{label} is not finite"
        assert label == "0.bias" or not torch.equal(parameter, old), f"{label} has not moved"
    assert bench.objective.counts.gradient_evaluations >= 3
    assert bench.objective.counts.examples >= 3 * 16


def is_deterministic(registry: Registry, name: str) -> None:
    """Two runs from the same seed are bitwise equal."""
    first, second = Workbench(registry, name), Workbench(registry, name)
    first.steps(0, 5)
    second.steps(0, 5)
    assert same(first.weights(), second.weights())


def continues_from_its_state(registry: Registry, name: str) -> None:
    """A new stepper that loads the state of an old one makes the same steps, bitwise."""
    bench = Workbench(registry, name)
    bench.steps(0, 3)
    state = copy.deepcopy(bench.stepper.state_dict())
    weights = copy.deepcopy(bench.module.state_dict())
    bench.steps(3, 6)
    uninterrupted = bench.weights()
    bench.module.load_state_dict(weights)
    bench.stepper = bench.build()
    bench.stepper.load_state_dict(state)
    bench.steps(3, 6)
    assert same(uninterrupted, bench.weights())


def restores_weights_after_evaluation(registry: Registry, name: str) -> None:
    """``evaluation_weights`` gives the training weights back, also after an exception."""
    bench = Workbench(registry, name)
    bench.steps(0, 2)
    before = bench.weights()
    try:
        with bench.stepper.evaluation_weights():
            raise KeyError("evaluation failed")
    except KeyError:
        pass
    assert same(before, bench.weights())


def stacks(registry: Registry, name: str) -> None:
    """An elementwise optimizer trains three members at once as it trains each alone, float64, to 1e-12.

    Members whose hyperparameters differ may be refused with NotImplementedError, members that are alike may not.
    """
    optimizer = registry.optimizer(name)
    if not optimizer.elementwise:
        return
    defaults = resolve(optimizer.options, {}, name)
    difference = compare(optimizer, [defaults] * 3, steps=6, dtype=torch.float64)
    assert difference < 1e-12, f"three members trained at once are {difference:.2g} off from each trained alone"
    if "lr" in defaults:
        members = [resolve(optimizer.options, {"lr": defaults["lr"] * share}, name) for share in (1.0, 0.5, 0.25)]
        with contextlib.suppress(NotImplementedError):
            difference = compare(optimizer, members, steps=6, dtype=torch.float64)
            assert difference < 1e-12, f"three members of different lr are {difference:.2g} off from each trained alone"


CHECKS = (
    contract,
    has_a_learning_rate,
    says_what_it_cannot_train,
    moves_every_parameter,
    is_deterministic,
    continues_from_its_state,
    restores_weights_after_evaluation,
    stacks,
)
