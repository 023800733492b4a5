"""The edge-of-stability probe through real trainings, against dense matrices and the optimizers' thresholds."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch

from probing import context, ref
from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.curvature import Hessian, flat
from thalweg.registry import Registry
from thalweg.testing.small import Workbench, network, problem
from thalweg.training.alone import Training
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.trial import ProbeRequest, Trial
from thalweg_plugins.probes.edge_of_stability import PLAIN, PRECONDITIONED

NAME = "edge-of-stability"


def run(registry: Registry, optimizer: str, batch_size: Any = "full", **hyperparameters: Any) -> pd.DataFrame:
    trial = Trial(
        problem=ref("digits", components=8),
        architecture=ref("mlp", widths=[4]),
        optimizer=ref(optimizer, **hyperparameters),
        budget=Budget(epochs=2),
        batch_size=batch_size,
        seed=0,
    )
    probe = registry.probe(NAME)
    active = ActiveProbe(ProbeRequest(label=NAME, probe=ref(NAME)), probe, resolve(probe.options, {}, NAME))
    done = Training(assemble(trial, registry), [active], lambda *_: None).run()
    assert done.status == "done", done.reason
    assert not done.probe_failures, done.probe_failures
    (table,) = done.tables.values()
    assert probe.chart(table).to_dict()["title"]["text"] == "Edge of stability"
    return table


@pytest.mark.parametrize(
    ("optimizer", "hyperparameters", "threshold"),
    [("sgd", {"lr": 0.1}, 20.0), ("momentum", {"lr": 0.1, "momentum": 0.9}, 38.0), ("lion", {"lr": 1e-3}, None)],
)
def test_full_batch_runs_have_their_optimizers_threshold(
    registry: Registry, optimizer: str, hyperparameters: dict[str, Any], threshold: float | None
) -> None:
    table = run(registry, optimizer, **hyperparameters)
    assert table["matrix"].tolist() == [PLAIN] * 3
    assert table["threshold"].dropna().tolist() == pytest.approx([threshold] * 3 if threshold else [])


def test_adams_threshold_is_that_of_the_preconditioned_matrix(registry: Registry) -> None:
    table = run(registry, "adam", lr=1e-3)
    assert table["matrix"].tolist() == [PLAIN, *[PLAIN, PRECONDITIONED] * 2]
    assert table.loc[table["matrix"] == PLAIN, "threshold"].isna().all()
    assert table["threshold"].dropna().tolist() == pytest.approx([38e3, 38e3])


def test_minibatch_runs_have_no_threshold(registry: Registry) -> None:
    assert run(registry, "sgd", batch_size=64, lr=0.1)["threshold"].isna().all()


def test_eigenvalues_are_those_of_the_dense_matrices(registry: Registry) -> None:
    bench = Workbench(registry, "adam")
    bench.problem, bench.module = problem(torch.float64), network(torch.float64)
    bench.objective = Objective(bench.module, bench.problem, bench.draw)
    bench.stepper = bench.build()
    bench.steps(0, 3)
    it = context(registry, NAME, bench.problem, bench.module)
    it.optimizer, it.stepper, it.lr = bench.optimizer, bench.stepper, bench.stepper.lr
    it.hyperparameters = resolve(bench.optimizer.options, {}, "adam")
    table = registry.probe(NAME).measure(it)
    dense = Hessian(it.objective_on("train", None, torch.float64, "batch")).dense()
    diagonal = bench.stepper.preconditioner()
    assert diagonal is not None
    scale = flat(diagonal).rsqrt()
    for (_, row), matrix in zip(table.iterrows(), (dense, scale[:, None] * dense * scale), strict=True):
        exact = float(torch.linalg.eigvalsh(matrix)[-1])
        assert row["low"] - 1e-12 <= exact <= row["high"] + 1e-12
        assert row["value"] == pytest.approx(exact, rel=1e-3)
