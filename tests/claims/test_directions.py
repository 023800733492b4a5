"""Claim J1, to its tolerance, and the training that it shares with trials."""

from __future__ import annotations

import pytest
import torch

from claim_context import decided, draws, measured
from thalweg.landscape.shape import roughness
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial
from thalweg_plugins.claims.digits_mlp import digits_mlp
from thalweg_plugins.claims.directions import J1
from thalweg_plugins.claims.stepping import Steps
from thalweg_plugins.optimizers.first_order.sgd import SGD


def test_j1_holds_for_two_seeds() -> None:
    table = measured(J1(), 2)
    assert decided(J1(), table).verdict == "holds"
    draws(J1(), table)


def test_the_share_would_see_a_bend() -> None:
    t = torch.linspace(-1, 1, 101, dtype=torch.float64)
    assert roughness((t**4 - t**2).numpy(), 1.0).concave > 0.3


def test_digits_mlp_is_the_workload_of_trials(registry: Registry) -> None:
    """The same first weights and batches in 50 steps in float64."""
    trial = Trial(
        problem=ComponentRef(name="digits", provider="p"),
        architecture=ComponentRef(name="mlp", provider="p"),
        optimizer=ComponentRef(name="sgd", provider="p", options={"lr": 0.1}),
        budget={"epochs": 5},  # type: ignore[arg-type]
        batch_size=32,
        validation_fraction=0.2,
        dtype="float64",
        seed=3,
    )
    it = assemble(trial, registry)
    problem, module, draw = digits_mlp(3)
    run = Steps(SGD(), problem, module, draw, lr=0.1)
    for step in range(50):
        it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
        it.stepper.step(it.objective)
        run.step()
    expected = it.problem.evaluate(it.module, "train")["loss"]
    assert run.loss == pytest.approx(expected, rel=1e-6)
