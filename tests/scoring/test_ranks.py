"""Rank intervals: the tests of pairs against scipy, and the rate of false claims in seeded simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thalweg.benchmark_file import Target
from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.observations import TRIAL_COLUMNS, Observations
from thalweg.scoring.ranks import ALPHA, Sample, certain, finest, p_of_lost, p_of_means, rank_intervals, rejected

LOSS = Metric("loss", "lower")
WORKLOAD = Workload("w", (LOSS,), LOSS, "train", Target(metric="loss", value=0.5), "train", LOSS, "step")


def observations(
    losses: dict[str, list[float | None]], reach: dict[str, list[int | None]] | None = None
) -> Observations:
    """The last losses of each optimizer's seeds (None: diverged), and the steps at which the target is reached."""
    trials, rows = [], []
    for optimizer, values in losses.items():
        for seed, value in enumerate(values):
            names = {"workload": "w", "optimizer": optimizer, "seed": seed}
            status = "diverged" if value is None else "done"
            trials.append({**names, "hash": f"{optimizer}{seed}", "status": status, "reason": "", "state_bytes": 1})
            at = (reach or {}).get(optimizer, [None] * len(values))[seed]
            for step in (0, 10, 20, 30):
                loss = 0.1 if at is not None and step >= at else 1.0
                rows.append({**names, "step": step, "split": "train", "metric": "loss", "value": loss})
            last = {"step": 40, "split": "train", "metric": "loss", "value": math.nan if value is None else value}
            rows.append(names | last)
    return Observations(pd.DataFrame(trials, columns=TRIAL_COLUMNS), pd.DataFrame(rows))


def ranks(seen: Observations, metric: str | None = None) -> dict[str, tuple[int, int, int]]:
    rows = leaderboard(seen, {"w": WORKLOAD}, metric).to_dict("records")
    return {row["optimizer"]: (row["rank"], row["rank_low"], row["rank_high"]) for row in rows}


def test_means_are_compared_by_welchs_test() -> None:
    draw = np.random.default_rng(0)
    samples = [draw.normal(0, scale, n) for scale, n in ((1, 3), (10, 5), (0.1, 20))]
    moments = [np.array([f(each) for each in samples]) for f in (np.mean, lambda x: x.std(ddof=1), len)]
    found = p_of_means(*moments)
    for i, j in itertools.permutations(range(3), 2):
        expected = stats.ttest_ind(samples[i], samples[j], equal_var=False, alternative="less").pvalue
        assert found[i, j] == pytest.approx(expected, rel=1e-9)
    assert (p_of_means(np.zeros(2), np.full(2, math.nan), np.ones(2)) == 1).all()


def test_lost_seeds_are_compared_by_fishers_exact_test() -> None:
    lost, seeds = np.array([0, 1, 5, 9, 20]), np.array([5, 5, 5, 10, 20])
    found = p_of_lost(lost, seeds)
    for i, j in itertools.permutations(range(5), 2):
        table = [[lost[j], seeds[j] - lost[j]], [lost[i], seeds[i] - lost[i]]]
        assert found[i, j] == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-9)


def test_ranks_count_the_pairs_that_are_certain() -> None:
    better = rejected(np.array([[1.0, 1e-9, 0.2], [1.0, 1.0, 1.0], [0.9, 0.004, 1.0]]))
    # six pairs: 0.004 is below 0.05 / 5
    assert better.tolist() == [[False, True, False], [False, False, False], [False, True, False]]
    assert [ends.tolist() for ends in rank_intervals(better)] == [[1, 3, 1], [2, 3, 2]]


def test_many_equal_optimizers_have_no_certain_rank_in_a_leaderboard() -> None:
    draw = np.random.default_rng(1)
    tables, certainly = 150, 0
    for _ in range(tables):
        board = ranks(observations({f"o{i:02}": draw.normal(1, 0.1, 4).tolist() for i in range(20)}))
        certainly += any((low, high) != (1, 20) for _, low, high in board.values())
    # 37% where intervals that do not overlap were called certain
    assert certainly <= stats.binom.ppf(0.999, tables, ALPHA)


def test_a_table_gives_what_the_arrays_of_many_tables_give() -> None:
    values = np.random.default_rng(2).normal(np.linspace(0, 5, 9)[:, None], 0.5, (3, 9, 5))
    better = rejected(p_of_means(values.mean(-1), values.std(-1, ddof=1), np.full(9, 5)))
    assert better.any((1, 2)).all()
    for table, expected in zip(values, better, strict=True):
        np.testing.assert_array_equal(certain([Sample(each) for each in table]), expected)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_equal_optimizers_that_take_one_of_two_steps_make_few_false_claims(seeds: int) -> None:
    draw = np.random.default_rng(seeds)
    tables, optimizers = 400, 9
    values = draw.integers(1, 3, size=(tables, optimizers, seeds)) * 10.0
    claims = sum(certain([Sample(each, resolution=10.0) for each in table]).any() for table in values)
    assert claims <= stats.binom.ppf(0.999, tables, ALPHA)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
@pytest.mark.parametrize("seeds", [3, 10])
def test_equal_optimizers_that_lose_seeds_make_few_false_claims(seeds: int, share: float) -> None:
    draw = np.random.default_rng([seeds, int(100 * share)])
    tables, optimizers = 300, 9
    claims = 0
    for _ in range(tables):
        kept = draw.random((optimizers, seeds)) >= share
        values = draw.normal(size=(optimizers, seeds))
        samples = [Sample(row[there], int((~there).sum())) for row, there in zip(values, kept, strict=True)]
        claims += bool(certain(samples).any())
    assert claims <= stats.binom.ppf(0.999, tables, ALPHA)


def test_optimizers_that_do_differ_are_told_apart() -> None:
    draw = np.random.default_rng(3)
    board = ranks(observations({f"o{i}": draw.normal(i, 0.05, 5).tolist() for i in range(9)}))
    assert [(low, high) for _, low, high in board.values()] == [(i, i) for i in range(1, 10)]


def test_one_diverged_seed_makes_no_rank_certain() -> None:
    draw = np.random.default_rng(4)
    losses: dict[str, list[float | None]] = {name: draw.normal(1, 0.1, 5).tolist() for name in "abc"}
    losses["c"][2] = None
    found = ranks(observations(losses))
    assert list(found)[2] == "c"
    assert {(low, high) for _, low, high in found.values()} == {(1, 3)}


def test_a_seed_that_misses_the_target_makes_no_rank_certain() -> None:
    steps: dict[str, list[int | None]] = {"all": [10, 20, 10, 20, 10], "most": [20, 10, None, 10, 20]}
    # the last losses do not meet the target, so that the third seed never does
    found = ranks(observations({name: [0.9] * 5 for name in steps}, steps), "steps_to_target")
    assert found == {"all": (1, 1, 2), "most": (2, 1, 2)}


def test_many_lost_seeds_make_a_rank_certain() -> None:
    draw = np.random.default_rng(5)
    losses: dict[str, list[float | None]] = {"a": draw.normal(1, 0.1, 10).tolist(), "b": [1.0, None] * 2 + [None] * 6}
    assert ranks(observations(losses)) == {"a": (1, 1, 1), "b": (2, 2, 2)}


def test_an_optimizer_that_lost_no_more_seeds_is_better_by_its_mean() -> None:
    losses: dict[str, list[float | None]] = {
        "far": [9.0, 9.1, None, 9.2, 9.0, 9.1],
        "near": [1.0, 1.1, 1.0, 1.2, 1.1, None],
    }
    assert ranks(observations(losses)) == {"near": (1, 1, 1), "far": (2, 2, 2)}


def test_a_cost_has_no_mean_if_a_seed_diverged() -> None:
    steps: dict[str, list[int | None]] = {"a": [10, 10, 20], "b": [10, 10, 10]}
    seen = observations({"a": [0.3, 0.3, 0.3], "b": [0.3, 0.3, None]}, steps)
    rows = {row["optimizer"]: row for row in leaderboard(seen, {"w": WORKLOAD}, "steps_to_target").to_dict("records")}
    assert rows["a"]["value"] == pytest.approx((10 * 10 * 20) ** (1 / 3))
    assert math.isnan(rows["b"]["value"])
    assert rows["b"]["reached"] == 2
    assert list(rows) == ["a", "b"]


def test_two_seeds_that_take_equal_steps_do_not_make_a_rank_certain() -> None:
    steps: dict[str, list[int | None]] = {"a": [10, 10], "b": [20, 20]}
    found = ranks(observations({name: [0.3] * 2 for name in steps}, steps), "steps_to_target")
    assert found == {"a": (1, 1, 2), "b": (2, 1, 2)}


def test_memory_does_not_depend_on_the_seed() -> None:
    seen = observations({name: [1.0, 1.0, 1.0] for name in "ab"})
    seen.trials.loc[seen.trials["optimizer"] == "b", "state_bytes"] = 2
    assert ranks(seen, "state_bytes") == {"a": (1, 1, 1), "b": (2, 2, 2)}


def test_the_finest_difference() -> None:
    assert finest(np.array([3.0, 1.0, 1.5, 1.0, math.inf])) == 0.5
    assert finest(np.array([2.0, 2.0])) == 0.0


def test_nine_optimizers_tell_apart_what_the_page_says() -> None:
    """Three standard deviations with five seeds, and an optimizer that loses all seeds with seven."""
    pairs = 9 * 8
    means = p_of_means(np.array([0.0, 3.1]), np.ones(2), np.full(2, 5))
    assert means[0, 1] < ALPHA / pairs < p_of_means(np.array([0.0, 2.9]), np.ones(2), np.full(2, 5))[0, 1]
    lost = [2 * p_of_lost(np.array([0, seeds]), np.array([seeds, seeds]))[0, 1] for seeds in (6, 7)]
    assert lost[1] < ALPHA / pairs < lost[0]
