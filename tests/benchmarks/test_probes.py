"""Times of probes in training, in steps of the training and in gradients.

Memory is allocated as in a run of ``thalweg run``, whose processes call ``set_allocator``.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from statistics import median
from typing import Any

import pytest
import torch

from probing import ref
from thalweg.allocator import set_allocator
from thalweg.contracts.budget import Budget
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import ProbeContext, SavedWeights
from thalweg.contracts.problem import Batch
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.trial import ProbeRequest, Trial
from timing import KEPT, ratios, record

PAIRS = 7
TRIAL = Trial(
    problem=ref("digits"),
    architecture=ref("mlp", widths=[128, 128]),
    optimizer=ref("adam"),
    budget=Budget(epochs=3),
    batch_size=128,
    seed=0,
)


GRADIENTS = {"gradient-flow": 1, "smoothness": 9, "covariate-shift": 3}
"""The gradients of the batch that a measurement needs; covariate-shift needs a step besides."""


def seconds_of_gradients(registry: Registry, name: str) -> float:
    """The gradients alone that a measurement needs; for noise-scale one of all examples."""
    it = assemble(TRIAL, registry)
    draw = it.draw if name in GRADIENTS else dataclasses.replace(it.draw, batch_size=None)
    it.objective.begin_step(it.problem.batch("train", 0, draw), 0)
    times = []
    for _ in range(50):
        started = time.perf_counter()
        it.objective.gradient()
        times.append(time.perf_counter() - started)
    return GRADIENTS.get(name, 1) * median(times)


@pytest.mark.benchmark(group="a measurement of a probe in training, in training steps")
@pytest.mark.parametrize("name", [*GRADIENTS, "noise-scale"])
def test_a_probe_in_training(benchmark: Any, registry: Registry, name: str) -> None:
    """The ratio of a measurement to a step of its training."""
    set_allocator()
    probe = registry.probe(name)
    given = {"jacobian": "never"} if name == "gradient-flow" else {"every": 1} if "every" in [
        option.name for option in probe.options
    ] else {}  # fmt: skip
    request = ProbeRequest(label=name, probe=ref(name, **given))
    active = ActiveProbe(request, probe, resolve(probe.options, given, name))
    values, floors = [], []
    for _ in range(PAIRS if KEPT else 1):
        training = Training(assemble(TRIAL, registry), [active], lambda *_: None)
        trained = training.run()
        moments = trained.tables[request.key]["step"].nunique()
        (cost,) = trained.probe_costs.values()
        step = trained.summary["seconds"] / trained.summary["step"]
        values.append(cost["seconds"] / moments / step)
        floors.append(seconds_of_gradients(registry, name) / step)
    record(benchmark, f"probe-{name}", values, floor=median(floors))
    benchmark.pedantic(lambda: Training(assemble(TRIAL, registry), [active], lambda *_: None).run(), rounds=1)


@pytest.mark.benchmark(group="a noise scale, in gradients of the examples that it sees")
def test_a_noise_scale_in_gradients(benchmark: Any, registry: Registry) -> None:
    """Against the gradients of the same examples, in batches of the same size, on the same module."""
    set_allocator()
    it = assemble(TRIAL, registry)
    it.objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
    probe = registry.probe("noise-scale")
    options = resolve(probe.options, {}, "noise-scale")
    context = ProbeContext(
        options=options,
        module=it.module,
        problem=it.problem,
        objective=it.objective.observer(),
        step=0,
        epoch=0.0,
        generator=torch.Generator().manual_seed(0),
        weights=SavedWeights(),
    )
    objective = copy.copy(context.objective_on())
    whole = objective.batch
    assert whole.inputs is not None
    assert whole.targets is not None
    rows = torch.split(torch.arange(whole.size), options["big"])
    batches = [Batch(whole.inputs[part], whole.targets[part], len(part)) for part in rows]

    def gradients() -> None:
        for batch in batches:
            objective.begin_step(batch, 0)
            objective.gradient()

    assert probe.measure(context)["draws"] == 0  # type: ignore[index]
    record(benchmark, "noise-scale-in-gradients", ratios(lambda: probe.measure(context), gradients, 15))
    benchmark.pedantic(lambda: probe.measure(context), rounds=1)
