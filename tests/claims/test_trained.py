"""What claims read from trials, and the claims that compare tuned optimizers, on curves with known answers."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from made_trials import MadeContext, MadeTrial, value_of
from thalweg.contracts.claim import Claim, Measurements
from thalweg.registry import Registry
from thalweg_plugins.claims import CLAIMS, experiments
from thalweg_plugins.claims.adaptive.tuned import AdamAgainstMomentum, RMSPropBeatsAdaGrad
from thalweg_plugins.claims.later.tuned import ScheduleFree, at_half
from thalweg_plugins.claims.overfitting.tuned import AdaptiveTestErrors
from thalweg_plugins.claims.quadratics.deep_networks import by_gradients
from thalweg_plugins.claims.trained import add, at_loss, final, matched, series, smoothed_error, validation_examples


def test_a_quantity_at_a_training_loss_is_linear_in_the_logarithm_of_the_loss() -> None:
    loss = pd.Series({0: 4.0, 5: 1.0, 10: 0.25})
    held_out = pd.Series({0: 0.9, 5: 0.5, 10: 0.3})
    assert at_loss(loss, held_out, 0.5) == pytest.approx(0.4)
    assert at_loss(loss, held_out, 1.0) == 0.5
    assert at_loss(loss, held_out, 5.0) == 0.9
    assert math.isnan(at_loss(loss, held_out, 0.2))


def test_the_loss_is_matched_at_the_larger_final_value() -> None:
    fast = MadeTrial("w", "a", values={("train", "loss"): [1.0, 0.1, 0.01], ("valid", "loss"): [1.0, 0.4, 0.6]})
    slow = MadeTrial("w", "b", values={("train", "loss"): [1.0, 0.5, 0.1], ("valid", "loss"): [1.0, 0.7, 0.3]})
    # the slow one ends at 0.1, which the fast one reaches at its second evaluation
    assert matched([fast, slow], lambda trial: series(trial, "valid", "loss")) == pytest.approx([0.4, 0.3])


def test_no_error_has_a_logarithm() -> None:
    assert smoothed_error(1.0, 270) == pytest.approx(0.5 / 271)
    assert smoothed_error(0.9, 270) == pytest.approx(27.5 / 271)


@pytest.mark.parametrize("tier", ["quick", "cpu", "full"])
def test_validation_examples_are_those_of_the_split(tier: str) -> None:
    found = [validation_examples(table) for table in experiments.workloads(tier).values()]
    assert found == {"quick": [270, 800], "cpu": [2000, 2000], "full": [6000, 5000]}[tier]


def test_a_lost_trial_is_a_missing_value_with_its_reason() -> None:
    rows = Measurements()
    add(rows, "loss", MadeTrial("w", "a", lost="diverged: nan at step 3"), lambda trial: final(trial, "train", "loss"))
    (row,) = rows.table().to_dict("records")
    assert math.isnan(row["value"])
    assert row["note"] == "diverged: nan at step 3"


def _tuned(workload: str, optimizer: str, loss: float, accuracy: float, test: float = 0.5) -> MadeTrial:
    values = {
        ("train", "loss"): [2.0, loss],
        ("valid", "accuracy"): [0.1, accuracy],
        ("valid", "loss"): [2.0, 1.0],
        ("test", "accuracy"): [test],
    }
    return MadeTrial(workload, optimizer, values=values)


def test_c4_and_c5_measure_final_losses_and_smoothed_errors() -> None:
    trials = [
        _tuned(workload, optimizer, loss, accuracy)
        for workload in experiments.NAMES["quick"]
        for optimizer, loss, accuracy in (("adagrad", 0.2, 0.9), ("rmsprop", 0.1, 1.0), ("momentum", 0.3, 0.8))
    ]
    table = RMSPropBeatsAdaGrad().measure(MadeContext(trials), 0)
    assert value_of(table, "final training loss", "adagrad", "digits-mlp") == 0.2
    assert value_of(table, "validation error", "rmsprop", "digits-mlp") == pytest.approx(0.5 / 271)
    assert value_of(table, "validation error", "adagrad", "mnist1d-convnet") == pytest.approx(80.5 / 801)
    trials += [_tuned(workload, "adam", 0.05, 0.95) for workload in experiments.NAMES["quick"]]
    table = AdamAgainstMomentum().measure(MadeContext(trials), 0)
    assert value_of(table, "final training loss", "momentum", "digits-mlp") == 0.3
    assert value_of(table, "validation error", "adam, published defaults", "digits-mlp") == pytest.approx(14 / 271)


def test_e4_reads_the_test_split() -> None:
    trials = [
        _tuned("mnist1d-convnet", optimizer, 0.1, 0.9, test)
        for optimizer, test in (("momentum", 0.9), ("adagrad", 0.8), ("rmsprop", 0.7), ("adam", 0.85))
    ]
    table = AdaptiveTestErrors().measure(MadeContext(trials), 0)
    assert value_of(table, "test error", "rmsprop") == pytest.approx(0.3)


def test_half_is_the_last_evaluation_within_half_of_the_steps() -> None:
    trial = MadeTrial("w", "a", values={("valid", "loss"): [5, 4, 3, 2, 1]}, steps=[0, 10, 20, 30, 40])
    assert at_half(trial) == 3
    trials = [
        MadeTrial(workload, label, values={("valid", "loss"): values})
        for workload in experiments.NAMES["quick"]
        for label, values in (("schedule-free-adamw", [3, 1.5, 1.0]), ("adamw-cosine", [3, 2.5, 1.0]))
    ]
    table = ScheduleFree().measure(MadeContext(trials), 0)
    assert value_of(table, "validation loss at half", "cosine", "digits-mlp") == 2.5
    assert value_of(table, "validation loss at the end", "schedule-free", "digits-mlp") == 1.0


def test_a_step_of_lbfgs_beyond_the_budget_does_not_count() -> None:
    trial = MadeTrial("w", "lbfgs", values={("train", "loss"): [2.0, 1.0, 0.5]}, gradients=[0, 295, 304])
    assert by_gradients(trial).iloc[-1] == 1.0


def test_both_sides_of_a_tuned_comparison_have_equal_tries(registry: Registry) -> None:
    """Eight rates over three decades and equal tuning seeds, and no extension at an end."""
    tuning = experiments.RATES
    assert tuning["budgets"] == [8]
    assert tuning["extend"] == 0.0
    for tier in ("quick", "cpu", "full"):
        content = experiments.tuned(tier).content
        assert content["tuning"] == tuning
        sides = [content["optimizers"][name] for name in ("schedule-free-adamw", "adamw-cosine")]
        assert sides[0]["lr"] == sides[1]["lr"]


def test_adam_has_its_published_defaults() -> None:
    (table,) = experiments.published("quick").content["optimizers"].values()
    assert table == {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


@pytest.mark.parametrize("name", ["C4", "C5", "L4", "L5", "G6", "B6", "H1"])
def test_other_tiers_show_their_own_names(name: str) -> None:
    claim: Claim = next(kind for kind in CLAIMS if kind.name == name)()  # type: ignore[attr-defined]
    found = claim.decide(claim.synthetic(1, 0.05, "full"), "full")
    texts = " ".join(part.name for part in found.parts)
    assert found.verdict == "holds"
    assert "digits" not in texts
    assert "mnist-" in texts or "56" in texts
