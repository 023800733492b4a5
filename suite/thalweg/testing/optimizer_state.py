"""Checks of the state that an optimizer keeps from step to step."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor

from thalweg.contracts.copies import tensors_held
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, NotMet, condition, expect
from thalweg.testing.small import Workbench, parting
from thalweg.training.checkpoint import random_state, set_random_state
from thalweg.training.randomness import seeded

STEPS = 85
"""Steps of the training that is not interrupted."""
INTERRUPTED = (5, 30)
"""The steps after which the other trainings are interrupted: in a warm-up, and after a warm-up. At least 55 follow."""


@condition(
    finds="state outside of ``state_dict``, such as a count of steps in an attribute",
    means="a trial that is interrupted and continued has other numbers than an uninterrupted one; thalweg then trains "
    "the trial again from the start",
)
def continues_from_its_state(registry: Registry, name: str) -> None:
    """A trial that continues after an interruption equals an uninterrupted trial, bitwise, for 55 steps and more.

    The check writes the state to a file, reads the file, and loads the state into a new stepper of a new network, as
    after a killed run. So the state must hold everything that a step depends on, including counts of steps and
    generators. Its keys must not be objects of the old process. The optimizer is interrupted at steps 5 and 30.
    """
    with seeded(0):
        whole = Workbench(registry, name).path(0, STEPS)
    for at in INTERRUPTED:
        with seeded(0):
            bench = Workbench(registry, name)
            if len(bench.path(0, at)) < at:
                raise DoesNotApply(f"it diverges before the interruption at step {at}")
            saved = _through_a_file(
                {"module": bench.module.state_dict(), "stepper": bench.stepper.state_dict(), "random": random_state()}
            )
        with seeded(1):
            other = Workbench(registry, name)
            other.module.load_state_dict(saved["module"])
            try:
                other.stepper.load_state_dict(saved["stepper"])
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                raise NotMet(f"a new stepper to load the state after {at} steps", told) from error
            set_random_state(saved["random"])
            place = parting(whole[at:], other.path(at, STEPS))
        expect(
            place is None,
            f"{STEPS - at} steps after an interruption at step {at} to equal uninterrupted steps",
            f"they part at step {at + (place or 0)}: state_dict lacks something that a step depends on",
        )


@condition(
    finds="weights, gradients or state that keep the graph of a step",
    means="memory grows with each step, and a long trial fails for want of memory",
)
def keeps_no_graph(registry: Registry, name: str) -> None:
    """After a step no weight, gradient or tensor of the stepper holds the graph that it was computed with."""
    with seeded(0):
        bench = Workbench(registry, name)
        bench.path(0, 3)
    holders: dict[str, list[Tensor]] = {
        "a weight": list(bench.module.parameters()),
        "a gradient": [p.grad for p in bench.module.parameters() if p.grad is not None],
        "the state": list(tensors_held(bench.stepper, bench.stepper.state_dict())),
    }
    for what, tensors in holders.items():
        shapes = [tuple(tensor.shape) for tensor in tensors if tensor.grad_fn is not None]
        told = f"{what} of shape {shapes[0]} has one" if shapes else ""
        expect(not shapes, "no graph after a step", told, "compute under torch.no_grad(), or detach")


def _through_a_file(state: dict[str, Any]) -> Any:
    file = io.BytesIO()
    try:
        torch.save(state, file)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise NotMet("a state_dict that torch.save can write", told) from error
    file.seek(0)
    return torch.load(file, weights_only=False)
