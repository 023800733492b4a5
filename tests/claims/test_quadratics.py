"""Section A: the theorems to their tolerances, and plain loops against the registered optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from claim_context import decided, draws, failing, measured
from thalweg.contracts import Optimizer
from thalweg_plugins.claims.quadratics import A1, A2, A3, A4
from thalweg_plugins.claims.quadratics._quadratic import SIZES, TARGET, instance
from thalweg_plugins.claims.quadratics.lbfgs import compared, conjugate_gradients, lbfgs
from thalweg_plugins.claims.quadratics.momentum import constants, values
from thalweg_plugins.optimizers.first_order.momentum import Momentum
from thalweg_plugins.optimizers.first_order.sgd import SGD
from thalweg_plugins.optimizers.second_order.lbfgs import LBFGS

SMALL, LARGE = SIZES


@pytest.mark.parametrize("claim", [A1(), A3()], ids=lambda claim: str(claim.name))
def test_the_theorem_holds_for_two_seeds(claim: Any) -> None:
    table = measured(claim, 2)
    assert decided(claim, table).verdict == "holds"
    draws(claim, table)


def test_each_seed_has_a_quadratic_of_its_own_with_the_declared_spectrum() -> None:
    one, other = instance(SMALL, 0), instance(SMALL, 1)
    assert not np.allclose(one.h, other.h)
    for given in (one, other):
        np.testing.assert_allclose(np.linalg.eigvalsh(given.h), np.geomspace(1, 100, 20), rtol=1e-10)


def test_a2_the_loop_is_the_registered_optimizers() -> None:
    given = instance(LARGE, 3)
    for series, (lr, momentum) in constants(1000.0).items():
        found = values(given.h, given.offset, lr, momentum, TARGET, most=200)
        optimizer: Optimizer = Momentum() if momentum else SGD()
        run = given.steps(optimizer, lr=lr, **({"momentum": momentum} if momentum else {}))
        first = run.loss
        for value in found[1:]:
            run.step()
            assert run.loss / first == pytest.approx(value, rel=1e-9), series


def test_a2_counts_the_steps_of_one_variable() -> None:
    """f falls by (1 - lr)^2 a step: 0.25^k <= 1e-3 for the first time at k = 5."""
    assert len(values(np.eye(1), np.ones(1), 0.5, 0.0, 1e-3)) - 1 == 5
    assert len(values(np.eye(1), np.ones(1), 2.5, 0.0, 1e-3, most=7)) - 1 == 7  # diverges, and stops


def test_a2_has_a_curve_and_a_count_for_each_method() -> None:
    table = measured(A2(), 1)
    counts = table[table["x"].isna()]
    assert len(counts) == 6
    for _, row in counts.iterrows():
        curve = table[table["x"].notna() & (table["series"] == row["series"]) & (table["setting"] == row["setting"])]
        assert 0.9 * row["value"] <= curve["x"].max() <= row["value"]
        assert curve["value"].iloc[-1] < 100 * TARGET
    draws(A2(), table)


def test_a4_holds_where_digits_suffice() -> None:
    """The rule's 60 digits are too few at kappa = 1000, where 120 show the theorem."""
    table = measured(A4(), 1)
    assert all(LARGE in part.name for part in failing(decided(A4(), table)))
    more = table[table["quantity"].str.endswith("120 digits")]
    assert len(more) == 4
    assert (more["value"] < 1e-20).all()
    draws(A4(), table)


def test_a4_both_methods_end_at_the_minimum_after_two_steps_in_the_plane() -> None:
    h, offset = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -3.0])
    distance, gradients = compared(h, offset, (1, 2), 60)
    assert distance < 1e-50
    assert max(found[-1] for found in gradients.values()) < 1e-50
    assert min(found[0] for found in gradients.values()) > 1e-2


def test_a4_the_loops_are_the_registered_optimizer_with_exact_line_searches() -> None:
    given = instance(SMALL, 0)
    for memory in (1, 5):
        run = given.steps(LBFGS(), line_search="exact", history_size=memory, max_iter=1)
        expected = lbfgs(given.h, given.offset, memory, 10)
        for x, y in zip(expected, conjugate_gradients(given.h, given.offset, 10), strict=True):
            run.step()
            offset = run.w - given.problem.minimizers[0]
            # float64 parts the methods at a rate that grows with kappa
            torch.testing.assert_close(offset, torch.from_numpy(x), rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-8)
