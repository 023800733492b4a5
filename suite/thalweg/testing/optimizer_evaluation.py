"""Checks of the weights that an optimizer is evaluated at."""

from __future__ import annotations

import copy
from typing import Any

import torch

from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
from thalweg.testing.small import Workbench, parting, same
from thalweg.training.randomness import seeded

STEPS = 30


@condition(
    finds="a class with ``train()`` and ``eval()`` that is evaluated at other weights than its ``eval()`` sets",
    means="the curve and the test metrics are of weights that the method does not recommend, and often worse",
)
def evaluates_at_the_weights_it_means(registry: Registry, name: str) -> None:
    """A torch class with ``train()`` and ``eval()`` is evaluated at the weights that its ``eval()`` puts in place."""
    with seeded(0):
        bench = Workbench(registry, name)
        bench.path(0, STEPS)
        optimizer: Any = getattr(bench.stepper, "optimizer", None)
        if not isinstance(optimizer, torch.optim.Optimizer) or not callable(getattr(optimizer, "eval", None)):
            raise DoesNotApply("it has no eval()")
        module, stepper = copy.deepcopy((bench.module, bench.stepper))
        try:
            stepper.optimizer.eval()  # type: ignore[attr-defined]
        except TypeError as error:
            raise DoesNotApply("its eval() means something else, and trials do not call it") from error
        meant = [parameter.detach().clone() for parameter in module.parameters()]
        with bench.stepper.evaluation_weights():
            found = [parameter.detach().clone() for parameter in bench.module.parameters()]
    expect(
        same(meant, found),
        f"evaluation at the weights that {type(optimizer).__name__}.eval() puts in place",
        "other weights",
        "evaluation_weights must call eval() and, afterwards, train(); register(CLASS, modes=False) never calls them",
    )


@condition(
    finds="averaged weights that stay if an evaluation raises",
    means="a trial whose hook fails goes on from other weights",
)
def restores_weights_after_evaluation(registry: Registry, name: str) -> None:
    """``evaluation_weights`` restores the training weights, also after an exception."""
    with seeded(0):
        bench = Workbench(registry, name)
        bench.path(0, STEPS)
        before = bench.weights()
        try:
            with bench.stepper.evaluation_weights():
                raise KeyError("evaluation failed")
        except KeyError:
            pass
        back = same(before, bench.weights())
    expect(back, "the training weights back after an evaluation that raised", "other weights")


@condition(
    finds="an ``evaluation_weights``, or ``train()`` and ``eval()``, that change the state or the weights that train",
    means="a trial's numbers depend on how often it is evaluated",
)
def trains_alike_however_often_it_is_evaluated(registry: Registry, name: str) -> None:
    """A training that is evaluated after each step equals a training that is never evaluated, bitwise."""
    with seeded(0):
        never = Workbench(registry, name).path(0, STEPS)
    with seeded(0):
        bench, often = Workbench(registry, name), []
        for step in range(STEPS):
            often += bench.path(step, step + 1)
            with bench.stepper.evaluation_weights():
                pass
    place = parting(never, often)
    expect(place is None, "a training without evaluations to equal one with them", f"they part at step {place}")
