"""Critical sharpness against the closed form of quadratic losses, and through trainings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from probing import context, function, ref, trained
from thalweg.contracts.option import resolve
from thalweg.curvature import flat
from thalweg.registry import Registry
from thalweg.testing.small import network, problem
from thalweg_plugins.probes.critical_sharpness import critical
from thalweg_plugins.problems.quadratic import Quadratic

NAME = "critical-sharpness"


def measured(registry: Registry, looking: Any, lr: float | None) -> dict[str, Any]:
    looking.lr = lr
    found: dict[str, Any] = registry.probe(NAME).measure(looking)
    return found


@pytest.mark.parametrize("dim", [1, 20])
@pytest.mark.parametrize("lr", [1e-4, 0.019, 3.0])
def test_along_the_gradient_of_a_quadratic(registry: Registry, dim: int, lr: float) -> None:
    """lambda_c = g'Hg / g'g, wherever the search begins."""
    loaded, module = function(registry, "quadratic", dim=dim)
    hessian, minimum = Quadratic().hessian_and_minimum(resolve(Quadratic.options, {"dim": dim}, "x"))
    before = flat(module.parameters()).detach().clone()
    g = hessian @ (before - minimum)
    exact = float(g @ hessian @ g / (g @ g))
    for tolerance in (0.0625, 1e-6):
        row = measured(registry, context(registry, NAME, loaded, module, tolerance=tolerance), lr)
        # the ends themselves are rounded
        assert row["low"] * (1 - 1e-9) <= exact <= row["high"] * (1 + 1e-9)
        assert row["low"] <= row["value"] <= row["high"]
        assert row["high"] - row["low"] <= tolerance * row["high"] * (1 + 1e-9)
        assert row["threshold"] == 2 / lr
    assert torch.equal(flat(module.parameters()), before)


def test_a_search_near_the_critical_rate_takes_six_passes() -> None:
    """Two to bracket the rate, and three to four to halve the interval to a sixteenth; one more at the weights."""
    for eta in (1.1, 1.4, 1.9, 2.1, 3.0, 3.9):
        passes = 0

        def loss(at: float) -> float:
            nonlocal passes
            passes += 1
            return (at - 1) ** 2

        assert critical(loss, eta, 1 / 16, 50) is not None
        assert passes - 1 in (5, 6)


@pytest.mark.parametrize(("optimizer", "given"), [("sgd", {}), ("momentum", {"momentum": 0.5}), ("adam", {})])
def test_along_the_step_of_an_optimizer(registry: Registry, optimizer: str, given: dict[str, float]) -> None:
    """lambda_c = d'Hd / d'g for the d of a training's next step, which the training then takes."""
    from thalweg.contracts.budget import Budget
    from thalweg.training.alone import Training
    from thalweg.training.assembly import ActiveProbe, assemble
    from thalweg.trial import ProbeRequest, Trial

    options = resolve(registry.problem("quadratic").options, {"dim": 20}, "quadratic")
    hessian, minimum = Quadratic().hessian_and_minimum(options)
    probe, tolerance, lr = registry.probe(NAME), 1e-5, 0.004
    request = ProbeRequest(label=NAME, probe=ref(NAME, tolerance=tolerance))
    active = ActiveProbe(request, probe, resolve(probe.options, {"tolerance": tolerance}, NAME))
    tables, weights = {}, {}
    for steps in (3, 4):
        trial = Trial(
            problem=ref("quadratic", dim=20),
            architecture=ref("point"),
            optimizer=ref(optimizer, lr=lr, **given),
            budget=Budget(steps=steps),
            dtype="float64",
            batch_size="full",
            seed=0,
        )
        it = assemble(trial, registry)
        done = Training(it, [active], lambda *_: None).run()
        tables[steps], weights[steps] = done.tables[request.key], flat(it.module.parameters()).detach()
    row = tables[3].iloc[-1]
    assert int(row["step"]) == 3
    d, g = (weights[3] - weights[4]) / lr, hessian @ (weights[3] - minimum)
    exact = float(d @ hessian @ d / (d @ g))
    assert row["low"] * (1 - 1e-9) <= exact <= row["high"] * (1 + 1e-9)


def test_there_is_none_upwards_or_without_an_end_or_without_a_step(registry: Registry) -> None:
    assert critical(lambda eta: eta, 1.0, 0.1, 30) is None
    assert critical(lambda eta: -eta, 1.0, 0.1, 30) is None
    assert critical(lambda eta: -eta if eta < 5 else math.nan, 1.0, 0.01, 30) == pytest.approx((5, 5), rel=0.01)
    loaded, module = function(registry, "quadratic", dim=3)
    _, minimum = Quadratic().hessian_and_minimum(resolve(Quadratic.options, {"dim": 3}, "x"))
    with torch.no_grad():
        next(module.parameters()).copy_(minimum)
    for lr in (0.0, 0.1):
        row = measured(registry, context(registry, NAME, loaded, module), lr)
        assert math.isnan(row["value"])
        assert row["passes"] == 0


def test_the_learning_rate_must_be_known(registry: Registry) -> None:
    looking = context(registry, NAME, problem(torch.float64), network(torch.float64))
    with pytest.raises(ValueError, match="learning rate at these weights is not known"):
        measured(registry, looking, None)


NETWORKS = [ref("mlp", widths=[8]), ref("resnet", depth=8, width=2)]


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda architecture: architecture.name)
def test_it_runs_through_training_and_is_drawn(registry: Registry, architecture: Any) -> None:
    table = trained(registry, NAME, architecture)
    assert (table["low"] <= table["high"]).all()
    assert (table["passes"] <= 50).all()
    chart = registry.probe(NAME).chart
    assert "Critical sharpness" in str(chart(table).to_dict()["title"])  # type: ignore[union-attr]
    assert "no measurement is finite" in str(chart(table.assign(value=math.nan)).to_dict())  # type: ignore[union-attr]
