"""Claim H1: the stop rule, and the choice of rates by seeds of their own."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from made_trials import MadeContext, MadeTrial, value_of
from thalweg_plugins.claims.residual.degradation import Degradation, choose, depths, stopped


def test_training_stops_where_20_epochs_improve_by_less_than_half_a_percent() -> None:
    enough = [0.5 - 0.0003 * epoch for epoch in range(101)]
    assert stopped(pd.Series(enough)) == pytest.approx(enough[-1])
    too_slow = [0.5 - 0.0002 * epoch for epoch in range(101)]
    assert stopped(pd.Series(too_slow)) == pytest.approx(too_slow[20])
    assert stopped(pd.Series([0.9] + [0.5] * 100)) == 0.5


def test_a_rise_does_not_count_as_an_improvement() -> None:
    jumping = [0.5, 0.2] + [0.4] * 30 + [0.0] * 70
    assert stopped(pd.Series(jumping)) == 0.2


def _trial(workload: str, label: str, seed: int, error: float, lost: str = "") -> MadeTrial:
    return MadeTrial(workload, label, seed, values={("train", "accuracy"): [0.1, *[1 - error] * 40]}, lost=lost)


def test_rates_are_chosen_by_seeds_that_do_not_decide() -> None:
    content = depths("quick").content
    assert content["seeds"] == 5 + 2
    trials = [
        # the deciding seeds would prefer 0.1, the choosing ones prefer 0.01
        _trial(workload, label, seed, {"lr-0-01": 0.1, "lr-0-1": 0.3}.get(label, 0.5) if seed >= 5 else
               {"lr-0-01": 0.2, "lr-0-1": 0.0}.get(label, 0.5))
        for workload in content["workloads"] for label in content["optimizers"] for seed in range(7)
    ]  # fmt: skip
    context = MadeContext(trials, 5)
    assert set(choose(context).values()) == {"lr-0-01"}
    table = Degradation().measure(context, 0)
    assert value_of(table, "training error", "plain, depth 40") == pytest.approx(0.2)
    assert value_of(table, "training error, without batch norm", "residual, depth 8") == pytest.approx(0.2)


def test_a_diverged_deciding_seed_is_missing() -> None:
    content = depths("quick").content
    trials = [
        _trial(workload, label, seed, 0.1, "diverged" if workload == "plain-40-batch" and seed == 0 else "")
        for workload in content["workloads"]
        for label in content["optimizers"]
        for seed in range(7)
    ]
    assert math.isnan(value_of(Degradation().measure(MadeContext(trials, 5), 0), "training error", "plain, depth 40"))


def test_depths_count_the_output_layer() -> None:
    tables = depths("quick").content["workloads"]
    assert {name: table["architecture"]["depth"] + 1 for name, table in tables.items() if "batch" in name} == {
        f"{kind}-{depth}-batch": depth for kind in ("plain", "residual") for depth in (8, 20, 40)
    }
