"""Contexts and tables of probes for tests: at a module's weights, and through a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import nn

from thalweg.contracts import Draw, LoadContext, LoadedProblem
from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import Probe, ProbeContext, SavedWeights
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.training.tables import checked, joined
from thalweg.trial import ComponentRef, ProbeRequest, Trial


def ref(name: str, **options: Any) -> ComponentRef:
    return ComponentRef(name=name, options=options, provider="test")


NETWORKS = [
    ref("mlp", widths=[16]),
    ref("convnet", channels=[4, 4, 4], widths=[16], padding="same", norm="batch"),
    ref("resnet", depth=8),
]
"""Networks for ``trained``; all but the first have batch norm."""


def context(
    registry: Registry, name: str, problem: LoadedProblem, module: nn.Module, seed: int = 0, **given: Any
) -> ProbeContext:
    """A probe's context at the module's weights, by default in float64, without an optimizer."""
    probe = registry.probe(name)
    if any(option.name == "dtype" for option in probe.options):
        given = {"dtype": "float64", **given}
    draw = Draw(0, None)
    objective = Objective(module, problem, draw, advances_buffers=False)
    objective.begin_step(problem.batch("train", 0, draw), 0)
    return ProbeContext(
        options=resolve(probe.options, given, name),
        module=module,
        problem=problem,
        objective=objective,
        step=0,
        epoch=0.0,
        generator=torch.Generator().manual_seed(seed),
        weights=SavedWeights(final=module.state_dict()),
    )


def function(registry: Registry, name: str, **given: Any) -> tuple[LoadedProblem, nn.Module]:
    """A registered analytic function in float64, and its start."""
    problem = registry.problem(name)
    options = resolve(problem.options, given, name)
    loaded = problem.load(options, LoadContext(torch.device("cpu"), torch.float64))
    module = registry.architecture("point").build({"tensors": 1}, problem.shape(options)).double()
    loaded.initialize(module, Draw(0, None))
    return loaded, module


def trained(
    registry: Registry,
    name: str,
    architecture: ComponentRef,
    where: Mapping[str, Any] | None = None,
    **given: Any,
) -> pd.DataFrame:
    """The probe's table of two steps on digits, which are vectors for an MLP and images for other networks.

    ``where`` sets dtype and device.
    """
    trial = Trial(
        problem=ref("digits") if architecture.name == "mlp" else ref("digits", layout="image"),
        architecture=architecture,
        optimizer=ref("sgd", lr=0.01),
        budget=Budget(steps=2),
        batch_size=64,
        seed=0,
        **(where or {}),
    )
    probe = registry.probe(name)
    active = ActiveProbe(ProbeRequest(label=name, probe=ref(name, **given)), probe, resolve(probe.options, given, name))
    done = Training(assemble(trial, registry), [active], lambda *_: None).run()
    assert done.status == "done", done.reason
    assert not done.probe_failures, done.probe_failures
    (table,) = done.tables.values()
    return table


def table_of(probe: Probe, looking: ProbeContext) -> pd.DataFrame:
    """A probe's measurement, as the table that is saved."""
    return joined(probe, [checked(probe, probe.measure(looking))])
