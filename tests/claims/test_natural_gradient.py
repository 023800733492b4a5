"""Section B: the theorems to their tolerances, and budgets that are met exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from claim_context import decided, draws, measured
from thalweg.curvature import flat
from thalweg_plugins.claims.natural_gradient import B1, B2, B3, B4
from thalweg_plugins.claims.natural_gradient._small import POINTS, case
from thalweg_plugins.claims.natural_gradient.budget import at_divergence
from thalweg_plugins.optimizers.first_order.sgd import SGD
from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradient


@pytest.mark.parametrize("claim", [B1(), B2(), B3()], ids=lambda claim: str(claim.name))
def test_the_theorem_holds_for_a_seed(claim: Any) -> None:
    table = measured(claim)
    assert decided(claim, table).verdict == "holds"
    draws(claim, table)


def test_a_seed_draws_points_and_weights_and_the_network_is_trained_a_little() -> None:
    one, other = case(0), case(1)
    assert len(one.w) == 117
    assert one.problem.sizes["train"] == POINTS
    assert not torch.equal(one.problem.data["train"][0], other.problem.data["train"][0])
    assert not torch.equal(one.w, other.w)
    assert torch.equal(one.w, case(0).w)
    assert float(one.loss(one.w)) < 1.5 < 2.3


def test_the_functions_of_the_weights_are_the_modules() -> None:
    given = case(0)
    x, y = given.problem.data["train"]
    torch.testing.assert_close(given.logits(given.w), given.module(x))
    assert float(given.loss(given.w)) == pytest.approx(given.problem.evaluate(given.module, "train")["loss"])
    assert float(given.divergence(given.w).detach()) == pytest.approx(0, abs=1e-15)
    before = flat(given.module.parameters()).detach().clone()
    step = given.stepped(SGD(), lr=0.1)
    g = torch.func.grad(given.loss)(given.w)
    torch.testing.assert_close(step, -0.1 * g, rtol=1e-9, atol=1e-12)
    assert torch.equal(before, given.w)
    assert len(y) == POINTS


@pytest.mark.parametrize("budget", [1e-4, 1e-2])
def test_b4_both_steps_meet_the_budget_exactly(budget: float) -> None:
    given = case(2)
    natural = given.stepped(NaturalGradient(), lr=1.0, damping=1e-12)
    for direction in (natural, -torch.func.grad(given.loss)(given.w)):
        step = at_divergence(given, direction, budget)
        assert float(given.divergence(given.w + step).detach()) == pytest.approx(budget, rel=1e-9)
        assert float(torch.cosine_similarity(step, direction, dim=0)) == pytest.approx(1)
    # the registered optimizer meets the same budget within 1%, and so has nearly the same step
    registered = given.stepped(NaturalGradient(), kl=budget, damping=1e-12)
    torch.testing.assert_close(registered, at_divergence(given, natural, budget), rtol=0.02, atol=1e-6)


def test_b4_gives_every_row() -> None:
    table = measured(B4())
    assert not any(part.lost for part in decided(B4(), table).parts)
    draws(B4(), table)
