"""Checks of the state that an optimizer keeps from step to step."""

from __future__ import annotations

import io
from typing import Any

import torch

from thalweg.registry import Registry
from thalweg.testing.small import Workbench, parting
from thalweg.training.checkpoint import random_state, set_random_state
from thalweg.training.randomness import seeded
from thalweg.training.state_precision import coarser_than

STEPS = 85
"""Steps of the training that is not interrupted."""
INTERRUPTED = (5, 30)
"""The steps after which the other trainings are interrupted: in a warm-up, and after a warm-up. At least 55 follow."""


def continues_from_its_state(registry: Registry, name: str) -> None:
    """A trial that continues after an interruption equals an uninterrupted trial, bitwise, for 55 steps and more.

    The check writes the state to a file, reads the file, and loads the state into a new stepper of a new network, as
    after a killed run. So the state must hold everything that a step depends on, including counts of steps and
    generators. Its keys must not be objects of the old process.
    """
    with seeded(0):
        whole = Workbench(registry, name).path(0, STEPS)
    for at in INTERRUPTED:
        with seeded(0):
            bench = Workbench(registry, name)
            if len(bench.path(0, at)) < at:
                return  # the optimizer diverges before the interruption
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
                raise AssertionError(f"expected a new stepper to load the state after {at} steps: {told}") from error
            set_random_state(saved["random"])
            place = parting(whole[at:], other.path(at, STEPS))
        assert place is None, (
            f"expected {STEPS - at} steps after an interruption at step {at} to equal uninterrupted steps, and they "
            f"part at step {at + (place or 0)}: state_dict lacks something that a step depends on"
        )


def keeps_its_state_in_the_precision_of_the_weights(registry: Registry, name: str) -> None:
    """In a float64 trial the weights and the state's tensors are float64.

    Single numbers may have lower precision: torch counts steps in float32.
    """
    with seeded(0):
        bench = Workbench(registry, name, torch.float64)
        bench.path(0, INTERRUPTED[0])
    weights = {label: parameter.dtype for label, parameter in bench.module.named_parameters()}
    low = [f"{label} ({_word(dtype)})" for label, dtype in weights.items() if dtype != torch.float64]
    assert not low, f"expected weights to stay float64, and the steps have changed {', '.join(low)}"
    found = coarser_than(bench.stepper.state_dict(), torch.float64)
    assert not found, f"expected the state of a float64 trial to be float64, and it has {', '.join(found)}"


def _through_a_file(state: dict[str, Any]) -> Any:
    file = io.BytesIO()
    try:
        torch.save(state, file)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise AssertionError(f"expected state_dict to be a value that torch.save can write: {told}") from error
    file.seek(0)
    return torch.load(file, weights_only=False)


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
