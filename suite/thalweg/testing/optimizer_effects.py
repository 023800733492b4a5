"""Checks that an optimizer has no effects besides moving weights and preparing evaluations."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from thalweg.contracts import Batch
from thalweg.registry import Registry
from thalweg.testing.settings import torch_settings
from thalweg.testing.small import Workbench, same
from thalweg.training.contained import contained
from thalweg.training.randomness import seeded

STEPS = 30


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
            assert not changed, (
                f"expected step {step} to leave its batch alone, and the step has changed the {changed[0]}"
            )
        after = torch_settings()
    for what, value in after.items():
        assert value == settings[what], f"expected torch's {what} as before, {settings[what]}, and it is {value}"
    for what, value in _about(bench).items():
        assert value == module[what], f"expected the {what} as before, {module[what]}, and found {value}"
    for step, old in enumerate(copies):
        again = _copied(bench.problem.batch("train", step, bench.draw))
        unchanged = all(torch.equal(again[what], old[what]) for what in old)
        assert unchanged, f"expected the data as before after {STEPS} steps, and batch {step} has changed"


def leaves_the_seeds_alone(registry: Registry, name: str) -> None:
    """An optimizer may draw from the global generators, but does not seed them: dropout would repeat its masks."""
    states = []
    for seed in (0, 1):
        with seeded(seed):
            Workbench(registry, name).path(0, 3)
            states.append(torch.get_rng_state())
    other = not torch.equal(*states)
    assert other, "expected torch's generator to depend on the trial's seed after 3 steps, and the steps have seeded it"


def evaluates_at_the_weights_it_means(registry: Registry, name: str) -> None:
    """A torch class with ``train()`` and ``eval()`` is evaluated at the weights that its ``eval()`` puts in place."""
    with seeded(0):
        bench = Workbench(registry, name)
        bench.path(0, STEPS)
        optimizer: Any = getattr(bench.stepper, "optimizer", None)
        if not isinstance(optimizer, torch.optim.Optimizer) or not callable(getattr(optimizer, "eval", None)):
            return
        module, stepper = copy.deepcopy((bench.module, bench.stepper))
        try:
            stepper.optimizer.eval()  # type: ignore[attr-defined]
        except TypeError:  # it means something else, and trials do not call it
            return
        meant = [parameter.detach().clone() for parameter in module.parameters()]
        with bench.stepper.evaluation_weights():
            found = [parameter.detach().clone() for parameter in bench.module.parameters()]
    assert same(meant, found), (
        f"expected evaluation at the weights that {type(optimizer).__name__}.eval() puts in place, and found other "
        "weights: evaluation_weights must call eval() and, afterwards, train()"
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
    assert back, "expected the training weights back after an evaluation that raised, and found other weights"


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
