"""Checks that an optimizer has no effects besides moving weights."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.contracts import Batch
from thalweg.registry import Registry
from thalweg.testing.condition import condition, expect
from thalweg.testing.settings import torch_settings
from thalweg.testing.small import Workbench
from thalweg.training.contained import contained
from thalweg.training.randomness import seeded

STEPS = 30


@condition(
    finds="steps that change data, targets, the module's modes and structure, or torch's settings",
    means="a trial's numbers depend on the trials before it, or later steps see other data",
)
def changes_nothing_but_the_weights(registry: Registry, name: str) -> None:
    """Thirty steps do not change data, targets, modules or torch's settings.

    They may change the gradients of the optimizer's parameters, since many methods clip or project them in place.
    """
    with contained(), seeded(0):
        bench = Workbench(registry, name)
        bench.module.register_buffer("bystander", torch.ones(3))
        batches = [bench.problem.batch("train", step, bench.draw) for step in range(STEPS)]
        copies = [_copied(batch) for batch in batches]
        module, settings = _about(bench), torch_settings()
        for step, batch in enumerate(batches):
            bench.objective.begin_step(batch, step)
            bench.stepper.step(bench.objective)
            changed = [what for what, old in copies[step].items() if not torch.equal(old, _copied(batch)[what])]
            expect(
                not changed,
                f"step {step} to leave its batch alone",
                f"the step has changed the {' and '.join(changed)}",
            )
        after = torch_settings()
    for what, value in after.items():
        expect(value == settings[what], f"torch's {what} as before, {settings[what]}", f"{value}")
    for what, value in _about(bench).items():
        expect(value == module[what], f"the {what} as before, {module[what]}", f"{value}")
    for step, old in enumerate(copies):
        again = _copied(bench.problem.batch("train", step, bench.draw))
        unchanged = all(torch.equal(again[what], old[what]) for what in old)
        expect(unchanged, f"the data as before after {STEPS} steps", f"batch {step} has changed")


@condition(
    finds="a step that seeds the global generators of torch, numpy or Python",
    means="dropout repeats its masks, and all seeds draw the same numbers",
)
def leaves_the_seeds_alone(registry: Registry, name: str) -> None:
    """An optimizer may draw from the global generators, but does not seed them."""
    states: list[dict[str, bytes]] = []
    for seed in (0, 1):
        with seeded(seed):
            Workbench(registry, name).path(0, 3)
            states.append(
                {
                    "torch": torch.get_rng_state().numpy().tobytes(),
                    "numpy": repr(np.random.get_state()).encode(),  # noqa: NPY002 - the global generator is meant
                    "Python": repr(random.getstate()).encode(),
                }
            )
    equal = [whose for whose in states[0] if states[0][whose] == states[1][whose]]
    expect(
        not equal,
        "global generators that depend on the trial's seed after 3 steps",
        f"equal states for two seeds: the steps have seeded the generator of {', '.join(equal)}",
    )


def _copied(batch: Batch) -> dict[str, Tensor]:
    both = {"inputs": batch.inputs, "targets": batch.targets}
    return {what: tensor.detach().clone() for what, tensor in both.items() if tensor is not None}


def _about(bench: Workbench) -> dict[str, Any]:
    """The properties of the module besides its weights and batch norm's statistics."""
    modules, parameters = dict(bench.module.named_modules()), dict(bench.module.named_parameters())
    return {
        "names of modules and parameters": [*modules, *parameters],
        "training modes": {label: module.training for label, module in modules.items()},
        "requires_grad of parameters": {label: parameter.requires_grad for label, parameter in parameters.items()},
        "buffers that no layer moves": bench.module.get_buffer("bystander").tolist(),
    }
