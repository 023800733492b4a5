"""Checks of probes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pandas as pd
import torch

from thalweg.contracts import Draw
from thalweg.contracts.copies import state_of
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.probe import ProbeContext, SavedWeights, Weights
from thalweg.landscape.points import flat
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
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


@condition(
    finds="a table without rows, or with other columns than the declared ones",
    means="the probe's measurements are not saved, and the trial reports an error of the probe",
)
def table_has_the_declared_columns(registry: Registry, name: str) -> None:
    """The table has rows, and has the declared columns in the declared order."""
    table = _measured(registry, name)
    declared = [column.name for column in registry.probe(name).columns]
    expect(list(table.columns) == declared, f"the declared columns {declared}", f"{list(table.columns)}")
    expect(len(table) > 0, "a table with rows", "it has none")


@condition(
    finds="draws that do not come from ``context.generator``, and memory between two measurements",
    means="a probe measured again on saved weights gives other numbers",
)
def repeats_itself(registry: Registry, name: str) -> None:
    """Equal contexts give bitwise equal tables."""
    first, second = _measured(registry, name), _measured(registry, name)
    differing = [column for column in first if column not in second or not first[column].equals(second[column])]
    expect(not differing and len(first) == len(second), "two measurements to be equal", f"{differing} differ")


@condition(
    finds="a probe that changes the model, its gradients, the data, or torch's random state",
    means="a trial with the probe has other numbers than a trial without it, or fails",
)
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
    expect(same(data, after), "the data as before", "it has changed")
    expect(same(weights, bench.weights()), "parameters and buffers as before", "they have changed")
    left = [parameter.grad for parameter in bench.module.parameters() if parameter.grad is not None]
    expect(same(gradients, left), "gradients as before", "they have changed")
    expect(bench.module.training == mode, "the mode as before", "it has changed")
    unused = torch.equal(random, torch.random.get_rng_state())
    expect(unused, "torch's random state as before", "it has changed", "draw from context.generator")


@condition(
    finds="saved weights that the probe uses without naming them in ``needs``",
    means="the probe fails in every run, because a trial saves only the weights that its probes need",
)
def needs_the_weights_that_it_uses(registry: Registry, name: str) -> None:
    """The probe measures with the saved weights in ``needs`` alone."""
    bench = Workbench(registry, "sgd")
    context = _context(registry, name, bench)
    unasked: tuple[Weights, ...] = tuple(one for one in get_args(Weights) if one not in registry.probe(name).needs)
    if not unasked:
        raise DoesNotApply("it needs all weights that can be saved")
    withheld: dict[str, Any] = dict.fromkeys(unasked)
    weights = replace(context.weights, **withheld)
    without = replace(context, weights=weights, other=weights if context.other is not None else None)
    try:
        registry.probe(name).measure(without)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        hint = f"name what it uses in needs, of {', '.join(unasked)}"
        expect(False, f"a measurement without the {' and '.join(unasked)} weights", told, hint)


@condition(
    finds="a chart that cannot be drawn for one trial, or for several, or has no title",
    means="the app and the report have no picture of the probe",
)
def draws_its_table(registry: Registry, name: str) -> None:
    """The chart is a valid Vega-Lite document, for one trial and for several."""
    table = _measured(registry, name)
    probe = registry.probe(name)
    several = pd.concat([table.assign(trial="first"), table.assign(trial="second")], ignore_index=True)
    for drawn in (table, several):
        document = probe.chart(drawn).to_dict()
        schema = document.get("$schema", "")
        expect("vega-lite" in schema, "a chart of Vega-Lite", f"a chart of the schema {schema!r}")
        expect(bool(document.get("title")), "a chart with a title", "it has none")


CHECKS = (
    contract,
    table_has_the_declared_columns,
    repeats_itself,
    leaves_the_model_unchanged,
    needs_the_weights_that_it_uses,
    draws_its_table,
)
