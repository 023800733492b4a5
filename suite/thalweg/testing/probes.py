"""Checks of probes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from thalweg.contracts import Draw
from thalweg.contracts.copies import state_of
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import ProbeContext, SavedWeights
from thalweg.landscape.points import flat
from thalweg.registry import Registry
from thalweg.testing.others import contract
from thalweg.testing.small import Workbench, same
from thalweg.training.tables import checked, joined

CHEAP: dict[str, Any] = {"resolution": 3, "points": 5, "steps": 5, "draws": 2, "vectors": 6, "restarts": 2}
"""Values for options that set a probe's cost; only the options that a probe has are used."""


def _context(registry: Registry, name: str, bench: Workbench) -> ProbeContext:
    """A probe's context after a short training, with every kind of saved weights."""
    probe = registry.probe(name)
    given = {option.name: CHEAP[option.name] for option in probe.options if option.name in CHEAP}
    initial, path = state_of(bench.module), [flat(bench.module)]
    for step in range(3):
        bench.steps(step, step + 1)
        path.append(flat(bench.module))
    weights = SavedWeights(initial, state_of(bench.module), torch.stack(path), (0, 1, 2, 3))
    objective = Objective(bench.module, bench.problem, Draw(0, 16))
    objective.begin_step(bench.problem.batch("train", 0, Draw(0, 16)), 0)
    return ProbeContext(
        options=resolve(probe.options, given, name),
        module=bench.module,
        problem=bench.problem,
        objective=objective.observer(),
        copy_stepper=lambda: bench.stepper,
        step=3,
        epoch=0.75,
        generator=torch.Generator().manual_seed(0),
        weights=weights,
        other=weights if "pair" in probe.when else None,
        optimizer=bench.optimizer,
        hyperparameters=resolve(bench.optimizer.options, {}, bench.optimizer.name),
        lr=bench.stepper.lr,
        batch_size=16,
    )


def _measured(registry: Registry, name: str) -> pd.DataFrame:
    probe = registry.probe(name)
    part = probe.measure(_context(registry, name, Workbench(registry, "sgd")))
    return joined(probe, [checked(probe, part)])


def table_has_the_declared_columns(registry: Registry, name: str) -> None:
    """The table has rows, and has the declared columns in the declared order."""
    table = _measured(registry, name)
    declared = [column.name for column in registry.probe(name).columns]
    assert list(table.columns) == declared, f"expected the declared columns {declared}, and found {list(table.columns)}"
    assert len(table), "expected a table with rows, and it has none"


def repeats_itself(registry: Registry, name: str) -> None:
    """Equal contexts give bitwise equal tables."""
    pd.testing.assert_frame_equal(_measured(registry, name), _measured(registry, name), check_exact=True)


def leaves_the_model_unchanged(registry: Registry, name: str) -> None:
    """A probe does not change parameters, buffers, gradients, mode, data or torch's random state."""
    bench = Workbench(registry, "sgd")
    context = _context(registry, name, bench)
    weights = bench.weights()
    gradients = [parameter.grad.clone() for parameter in bench.module.parameters() if parameter.grad is not None]
    mode, random = bench.module.training, torch.random.get_rng_state()
    draw = Draw(0, None)
    before = bench.problem.batch("train", 0, draw)
    data = [tensor.clone() for tensor in (before.inputs, before.targets) if tensor is not None]
    registry.probe(name).measure(context)
    again = bench.problem.batch("train", 0, draw)
    after = [tensor for tensor in (again.inputs, again.targets) if tensor is not None]
    assert same(data, after), "expected the data as before, and it has changed"
    assert same(weights, bench.weights()), "expected parameters and buffers as before, and they have changed"
    left = [parameter.grad for parameter in bench.module.parameters() if parameter.grad is not None]
    assert same(gradients, left), "expected gradients as before, and they have changed"
    assert bench.module.training == mode, "expected the mode as before, and it has changed"
    unused = torch.equal(random, torch.random.get_rng_state())
    assert unused, "expected torch's random state as before, and it has changed: draw from context.generator"


def draws_its_table(registry: Registry, name: str) -> None:
    """The chart is a valid Vega-Lite document, for one trial and for several."""
    table = _measured(registry, name)
    probe = registry.probe(name)
    several = pd.concat([table.assign(trial="first"), table.assign(trial="second")], ignore_index=True)
    for drawn in (table, several):
        document = probe.chart(drawn).to_dict()
        schema = document["$schema"]
        assert "vega-lite" in schema, f"expected a chart of Vega-Lite, and its schema is {schema}"
        assert document.get("title"), "expected a chart with a title, and it has none"


CHECKS = (
    contract,
    table_has_the_declared_columns,
    repeats_itself,
    leaves_the_model_unchanged,
    draws_its_table,
)
