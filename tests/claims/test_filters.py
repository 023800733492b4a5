"""Claim K1, to its tolerances, and that rescaled networks are the same functions."""

from __future__ import annotations

import copy

import pytest
import torch

from claim_context import decided, draws, measured
from thalweg_plugins.claims.filters import K1
from thalweg_plugins.claims.filters._rescaled import EPS, linears, pairs


def test_k1_holds_for_two_seeds() -> None:
    table = measured(K1(), 2)
    assert decided(K1(), table).verdict == "holds"
    layer = table[
        (table["quantity"] == "change of the layer-normalised curve") & (table["setting"] == "single filters")
    ]
    assert (layer["value"] > 1e-3).all()
    draws(K1(), table)


def test_the_rescaled_networks_are_the_same_functions_with_other_weights() -> None:
    problem, found = pairs(0)
    x, _ = problem.data["train"]
    assert len(found) == 4
    for setting, pair in found.items():
        one, other = (copy.deepcopy(module).train(pair.statistics == "batch") for module in (pair.before, pair.after))
        with torch.no_grad():
            torch.testing.assert_close(one(x), other(x), rtol=1e-11, atol=1e-11, msg=setting)
        before, after = linears(pair.before)[0].weight, linears(pair.after)[0].weight
        ratios = (after / before).detach()
        if setting == "single filters":
            assert float(ratios.min()) >= 0.1
            assert float(ratios.max()) <= 10
            assert float(ratios.std(0).max()) > 1
            torch.testing.assert_close(ratios.std(1), torch.zeros(32).double(), rtol=0, atol=1e-12)
        else:
            torch.testing.assert_close(ratios, torch.full_like(ratios, 10.0))


def test_batch_norm_has_no_constant_that_sees_the_scale() -> None:
    _, found = pairs(0)
    norms = [part for part in found["single filters"].before if isinstance(part, torch.nn.BatchNorm1d)]
    assert [norm.eps for norm in norms] == pytest.approx([EPS, EPS])
