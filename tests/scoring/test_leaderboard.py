from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from support import CommandLine
from thalweg.benchmark_file import Target
from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.scoring.intervals import FLOOR, t_interval
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import to_target
from thalweg.scoring.observations import TRIAL_COLUMNS, Observations

REFERENCE = Path(__file__).parents[2] / "results" / "reference"

ACCURACY = Metric("accuracy", "higher", unit="%")
LOSS = Metric("loss", "lower", "log")
DIGITS = Workload("digits", (ACCURACY, LOSS), ACCURACY, "test", Target(metric="accuracy", value=0.9), "valid", ACCURACY)


def observe(
    tests: dict[str, list[float | None]], valid: dict[str, list[float]] | None = None, steps: int = 3
) -> Observations:
    """An optimizer's test accuracies by seed (None: diverged); ``valid`` is its validation curve, for every seed."""
    trials, rows = [], []
    for optimizer, values in tests.items():
        for seed, value in enumerate(values):
            names = {"workload": "digits", "optimizer": optimizer, "seed": seed}
            status = "diverged" if value is None else "done"
            memory = 100 * (seed + 1) * len(optimizer)
            trials.append(
                {**names, "hash": f"{optimizer}{seed}", "status": status, "reason": "", "state_bytes": memory}
            )
            curve = (valid or {}).get(optimizer, [0.5] * steps)
            rows += [
                {
                    **names,
                    "step": 10 * i,
                    "split": "valid",
                    "metric": "accuracy",
                    "value": v,
                    "gradient_evaluations": 20 * i,
                    "curvature_products": 30 * i,
                    "factor_inversions": i,
                    "work": 40.0 * i,
                }
                for i, v in enumerate(curve)
            ]
            if value is not None:
                rows.append({**names, "step": 20, "split": "test", "metric": "accuracy", "value": value})
                rows.append({**names, "step": 20, "split": "test", "metric": "loss", "value": 1 - value})
    return Observations(pd.DataFrame(trials, columns=TRIAL_COLUMNS), pd.DataFrame(rows))


def rows(seen: Observations, metric: str | None = None) -> dict[str, dict[Any, Any]]:
    return {row["optimizer"]: row for row in leaderboard(seen, {"digits": DIGITS}, metric).to_dict("records")}


def test_the_interval_is_that_of_scipy() -> None:
    values = [0.91, 0.95, 0.97, 0.92]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx((np.mean(values), *expected), rel=1e-12)
    logs = np.log(values)
    low, high = np.exp(stats.t.interval(0.95, 3, loc=logs.mean(), scale=stats.sem(logs)))
    assert t_interval(values, log=True) == pytest.approx((stats.gmean(values), low, high), rel=1e-12)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    value, low, high = t_interval([0.5])
    assert value == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert math.isnan(t_interval([]).value)


def test_what_is_below_the_floor_counts_as_that_on_logarithms() -> None:
    assert t_interval([0.0, 1.0], log=True) == t_interval([FLOOR, 1.0], log=True)
    assert t_interval([0.0, 4.0], log=True, floor=1.0).value == pytest.approx(2.0)
    assert math.isnan(t_interval([math.nan, 1.0]).value)
    assert math.isnan(t_interval([math.inf, 1.0], log=True).value)


def test_one_seed_that_reaches_zero_makes_nobody_worse() -> None:
    # better on every seed than the other; a mean on another scale would say the opposite
    board = rows(observe({"zero": [1.0, 1 - 1e-3, 1 - 2e-3], "worse": [1 - 1e-9, 1 - 1.1e-3, 1 - 2.2e-3]}), "loss")
    assert list(board) == ["zero", "worse"]
    assert 0 < board["zero"]["value"] < board["worse"]["value"]
    assert board["zero"]["low"] > 0


def test_best_first_and_ties_where_intervals_overlap() -> None:
    found = rows(observe({"a": [0.90, 0.91, 0.92], "b": [0.905, 0.915, 0.925], "c": [0.50, 0.51, 0.52]}))
    assert list(found) == ["b", "a", "c"]
    assert [(row["rank"], row["rank_low"], row["rank_high"]) for row in found.values()] == [
        (1, 1, 2),
        (2, 1, 2),
        (3, 3, 3),
    ]
    assert found["a"]["value"] == pytest.approx(0.91)


def test_equal_values_share_a_rank() -> None:
    found = rows(observe({"a": [0.9, 0.9], "b": [0.9, 0.9]}))
    assert [(row["rank"], row["rank_low"], row["rank_high"]) for row in found.values()] == [(1, 1, 2), (1, 1, 2)]


def test_one_seed_decides_nothing() -> None:
    found = rows(observe({"a": [0.9], "b": [0.5], "c": [None]}))
    assert [(row["rank"], row["rank_low"], row["rank_high"]) for row in found.values()] == [
        (1, 1, 3),
        (2, 1, 3),
        (3, 1, 3),
    ]


def test_an_interval_over_many_decades_may_end_at_infinity() -> None:
    estimate = t_interval([FLOOR, 1e45], log=True)
    assert 0 < estimate.value < math.inf
    assert estimate.high == math.inf


def test_steps_without_a_target_are_refused_with_the_reason() -> None:
    workload = Workload("digits", (ACCURACY, LOSS), ACCURACY, "test", None, "valid", None)
    with pytest.raises(UserError, match="no workload asked for has a target"):
        leaderboard(observe({"a": [0.9]}), {"digits": workload}, "steps_to_target")


def test_an_interval_of_an_accuracy_stays_between_0_and_1() -> None:
    row = rows(observe({"a": [0.8, 1.0]}))["a"]
    assert row["high"] == 1.0
    assert row["low"] >= 0.0


def test_who_diverged_comes_after_who_finished_and_is_counted() -> None:
    found = rows(observe({"wild": [0.99, None, 0.99], "tame": [0.60, 0.61, 0.62], "gone": [None, None, None]}))
    assert list(found) == ["tame", "wild", "gone"]
    assert (found["wild"]["diverged"], found["wild"]["seeds"], found["wild"]["value"]) == (1, 3, pytest.approx(0.99))
    # three lost seeds of three against none of three: Fisher's p is 1 / 20
    assert (found["gone"]["rank_low"], found["gone"]["rank_high"]) == (1, 3)
    assert math.isnan(found["gone"]["value"])


def test_the_target_is_reached_at_the_first_such_evaluation_on_the_validation_split() -> None:
    seen = observe({"a": [0.9], "b": [0.9]}, valid={"a": [0.1, 0.92, 0.5], "b": [0.1, 0.2, 0.3]})
    found = rows(seen)
    assert (found["a"]["reached"], found["a"]["steps_to_target"]) == (1, pytest.approx(10))
    assert found["b"]["reached"] == 0
    assert math.isnan(found["b"]["steps_to_target"])


def test_a_diverged_trial_never_reaches_the_target() -> None:
    found = rows(observe({"a": [0.9, None]}, valid={"a": [0.95, 0.95, 0.95]}))
    assert found["a"]["reached"] == 1
    assert math.isnan(found["a"]["steps_to_target"])


def test_ranking_by_steps_to_target() -> None:
    seen = observe({"slow": [0.99, 0.99], "fast": [0.91, 0.91], "never": [0.99, 0.99]},
                   valid={"slow": [0, 0, 0.9], "fast": [0, 0.9, 0], "never": [0, 0, 0]})  # fmt: skip
    found = rows(seen, "steps_to_target")
    assert list(found) == ["fast", "slow", "never"]
    assert found["fast"]["value"] == pytest.approx(10)
    assert math.isnan(found["never"]["value"])


def test_a_lower_metric_is_better_for_a_loss() -> None:
    assert list(rows(observe({"a": [0.8, 0.8], "b": [0.9, 0.9]}), "loss")) == ["b", "a"]


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="--metric: no metric 'acuracy'; did you mean 'accuracy'"):
        rows(observe({"a": [0.9]}), "acuracy")


def test_a_target_that_is_lower_is_better() -> None:
    workload = Workload("q", (LOSS,), LOSS, "train", Target(metric="loss", value=0.1), "train", LOSS)
    curve = pd.DataFrame({"step": [0, 1, 2], "split": "train", "metric": "loss", "value": [1.0, 0.1, 0.5]})
    curve = curve.assign(optimizer="a", seed=0)
    assert to_target(curve, workload) == {"a": {0: 1}}
    assert to_target(curve[curve["step"] == 0], workload) == {}


def test_no_results_give_an_empty_table() -> None:
    empty = Observations(pd.DataFrame(columns=TRIAL_COLUMNS), pd.DataFrame())
    assert len(leaderboard(empty, {"digits": DIGITS})) == 0


@pytest.mark.parametrize(
    ("metric", "first", "second"),
    [("gradient_evaluations", 20, 40), ("curvature_products", 30, 60), ("factor_inversions", 1, 2), ("work", 40, 80)],
)
def test_ranking_by_what_reaching_the_target_cost(metric: str, first: float, second: float) -> None:
    seen = observe({"a": [0.9, 0.9], "b": [0.9, 0.9], "c": [0.9, 0.9]},
                   {"a": [0.1, 0.2, 0.95], "b": [0.1, 0.95, 0.95], "c": [0.1, 0.2, 0.3]})  # fmt: skip
    found = rows(seen, f"{metric}_to_target")
    assert list(found)[:2] == ["b", "a"]
    assert found["b"]["value"] == pytest.approx(first)
    assert found["a"]["value"] == pytest.approx(second)
    assert math.isnan(found["c"]["value"])


def test_ranking_by_the_memory_of_the_state_leaves_out_what_diverged() -> None:
    found = rows(observe({"b": [0.9, 0.9], "aa": [0.9, None]}), "state_bytes")
    assert found["b"]["value"] == 150
    assert found["aa"]["value"] == 200


def test_an_interval_of_costs_does_not_begin_below_zero() -> None:
    valid = {"a": [0.1, 0.95, 0.95]}
    seen = observe({"a": [0.9, 0.9]}, valid)
    first = (seen.curves["seed"] == 0) & (seen.curves["split"] == "valid")
    seen.curves.loc[first, "curvature_products"] *= 40
    row = rows(seen, "curvature_products_to_target")["a"]
    assert row["value"] == pytest.approx((30 * 40 + 30) / 2)
    assert row["low"] == 0
    assert row["high"] > row["value"]


def test_optimizers_with_several_gradients_a_step_are_named(cli: CommandLine) -> None:
    """A step of L-BFGS is a line search, so that steps alone do not compare it."""
    words = ["leaderboard", "quick", "--results", str(REFERENCE)]
    says = "Gradients and curvature products in a step, by one trial: lbfgs 10.2. Work to the target counts them all."
    assert says in cli(*words).stderr
    assert says in cli(*words, "--metric", "steps_to_target").stderr
    assert "Gradients and curvature" not in cli(*words, "--metric", "work_to_target").stderr
