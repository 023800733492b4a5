"""Pooled scores against scipy, and the critical difference against the example of Demšar (2006)."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from support import CommandLine
from thalweg.scoring.critical import critical_difference, refusal
from thalweg.scoring.pooled import MIN_TRIALS, improvements, interquartile_mean, pooled, repetitions, too_few


def areas(scores: dict[str, dict[str, list[float]]]) -> pd.Series:
    rows = [
        (optimizer, seed, workload, value)
        for optimizer, each in scores.items()
        for workload, values in each.items()
        for seed, value in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=["optimizer", "seed", "workload", "credit"])
    return table.set_index(["optimizer", "seed", "workload"])["credit"]


@pytest.mark.parametrize("n", [4, 20, 21, 22, 23])
def test_the_interquartile_mean_is_the_trimmed_mean(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-12)


def test_the_probability_of_improvement_is_mann_and_whitneys() -> None:
    draw = np.random.default_rng(0)
    one = {name: draw.integers(0, 6, 8) / 5 for name in "abc"}  # with ties
    other = {name: draw.integers(0, 6, 7) / 5 for name in "abc"}
    expected = [stats.mannwhitneyu(one[name], other[name]).statistic / 56 for name in "abc"]
    for name, value in zip("abc", expected, strict=True):
        found = improvements([one[name][None], other[name][None]])[0]
        np.testing.assert_allclose(found, [[0.5, value], [1 - value, 0.5]], rtol=1e-12)
    ((_, upper), _) = improvements([np.array([[1.0, 2.0]]), np.array([[0.0, 1.5]])])[0]
    assert upper == 0.75  # by hand: 3 pairs of 4
    # over workloads it is their mean
    many = {name: np.repeat(values, 4).tolist() for name, values in one.items()}
    table = pooled(areas({"x": many, "y": {name: np.repeat(v, 4).tolist() for name, v in other.items()}})).improvement
    found = table.set_index(["optimizer", "over"])["probability"]
    assert found["x", "y"] == pytest.approx(np.mean(expected), rel=1e-12)
    assert found["x", "y"] + found["y", "x"] == pytest.approx(1)


def test_its_interval_is_that_of_a_plain_bootstrap() -> None:
    draw = np.random.default_rng(4)
    one, other = draw.normal(0.6, 0.2, 30), draw.normal(0.5, 0.2, 25)
    table = pooled(areas({"x": {"a": one.tolist()}, "y": {"a": other.tolist()}})).improvement
    row = table[table["optimizer"] == "x"].iloc[0]
    found = stats.bootstrap(
        (one, other), lambda x, y: stats.mannwhitneyu(x, y).statistic / 750, vectorized=False, method="percentile",
        n_resamples=2000, rng=5,
    ).confidence_interval  # fmt: skip
    assert (row["low"], row["high"]) == pytest.approx((found.low, found.high), abs=0.02)


def test_of_very_many_trials_fewer_are_drawn() -> None:
    assert (repetitions(20), repetitions(500), repetitions(1000), repetitions(10**6)) == (2000, 2000, 1000, 200)


def test_seeds_are_drawn_within_workloads() -> None:
    # far apart between workloads, equal within one: nothing is left open
    same = {name: [float(place)] * 5 for place, name in enumerate("abcd")}
    (row,) = pooled(areas({"x": same})).means.to_dict("records")
    assert (row["trials"], row["iqm"], row["low"], row["high"]) == (20, 1.5, 1.5, 1.5)
    # of a single workload it is the plain bootstrap
    values = np.random.default_rng(1).uniform(size=40)
    (row,) = pooled(areas({"x": {"a": values.tolist()}})).means.to_dict("records")
    found = stats.bootstrap(
        (values,), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), method="percentile", n_resamples=5000, rng=2
    ).confidence_interval
    assert (row["low"], row["high"]) == pytest.approx((found.low, found.high), abs=0.02)


def test_who_has_fewer_than_twenty_trials_is_refused_with_the_reason() -> None:
    draw = np.random.default_rng(3)
    scores = {name: {w: draw.uniform(size=5).tolist() for w in "abcd"} for name in "xy"}
    scores["few"] = {w: [0.5] * 4 for w in "abcd"}
    found = pooled(areas(scores))
    assert set(found.means["optimizer"]) == {"x", "y"}
    assert {*map(tuple, found.improvement[["optimizer", "over"]].to_numpy())} == {("x", "y"), ("y", "x")}
    assert found.improvement["probability"].sum() == pytest.approx(1)
    assert found.refused == {"few": 16}
    assert too_few(found) == [
        f"interquartile means take {MIN_TRIALS} trials an optimizer, over all workloads: few has 16"
    ]
    none = pooled(areas({"few": scores["few"]}))
    assert none.means.empty
    assert "each has 16" in too_few(none)[0]
    assert list(none.improvement.columns) == ["optimizer", "over", "probability", "low", "high"]


DEMSAR = {
    "C4.5": [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
    "m": [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
    "cf": [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
    "m+cf": [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
}
"""Ranks of four classifiers on 14 data sets: Table 6 of the paper."""


def test_the_critical_difference_is_that_of_the_papers_example() -> None:
    found = critical_difference(-pd.DataFrame(DEMSAR))
    assert found.ranks.round(3).to_dict() == {"m+cf": 1.964, "m": 2.0, "cf": 2.893, "C4.5": 3.143}
    assert found.difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert 0.01 < found.p < 0.05  # the paper's F is significant; its 9.28 is without the correction for ties
    assert found.groups == [("m+cf", "m", "cf", "C4.5")]  # "the post-hoc test is not powerful enough"


def test_groups_are_the_largest_sets_within_the_difference() -> None:
    # three that are clear of each other in every workload, and a twin of the best
    draw = np.random.default_rng(0)
    base = draw.normal(size=60)
    table = pd.DataFrame({"a": base, "twin": base + draw.normal(size=60) * 0.1, "b": base - 1, "c": base - 2})
    found = critical_difference(table)
    assert found.groups == [("a", "twin")] or found.groups == [("twin", "a")]
    ranks = found.ranks
    for one, other in itertools.combinations(ranks.index, 2):
        together = any(one in group and other in group for group in found.groups)
        assert together == (abs(ranks[one] - ranks[other]) < found.difference)


def test_nobody_is_told_apart_where_friedmans_test_does_not() -> None:
    table = pd.DataFrame(np.random.default_rng(5).normal(size=(12, 4)), columns=list("abcd"))
    found = critical_difference(table)
    assert found.p > 0.05
    assert [sorted(group) for group in found.groups] == [["a", "b", "c", "d"]]
    equal = critical_difference(table * 0)
    assert equal.p == 1.0
    assert equal.ranks.tolist() == [2.5] * 4


def test_fewer_than_twelve_workloads_are_refused() -> None:
    assert refusal(11, 4) == ("a critical-difference diagram takes 12 workloads with a target, here are 11")
    assert "takes 3 optimizers" in refusal(12, 2)
    assert refusal(12, 3) == ""


def test_the_command_tells_both_or_why_not(cli: CommandLine) -> None:
    text = "seeds = 2\n[optimizers.sgd]\nlr = 0.01\n[optimizers.adam]\nlr = 0.3\n[optimizers.momentum]\nlr = 0.01\n"
    for number in range(12):
        text += (
            f'[workloads.q{number}]\nproblem = {{ name = "quadratic", dim = {number + 2}, kappa = 10.0 }}\n'
            'architecture = "point"\nbudget = { steps = 40 }\ntarget = { metric = "loss", value = 1e-2 }\n'
        )
    (cli.folder / "many.toml").write_text(text, encoding="utf-8")
    cli("run", "many.toml")
    document = cli.json("leaderboard", "many.toml", "--over-all")
    assert {row["trials"] for row in document["interquartile_means"]} == {24}
    assert len(document["improvement"]) == 6
    assert set(document["critical_difference"]["mean_ranks"]) == {"sgd", "adam", "momentum"}
    shown = cli("leaderboard", "many.toml", "--over-all")
    assert "interquartile mean" in shown.stdout
    assert "mean rank" in shown.stdout
    assert "are not told apart" in shown.stderr
    assert "| mean rank |" in cli("leaderboard", "many.toml", "--over-all", "--format", "markdown").stdout
    small = text[: text.index("[workloads.q3]")]
    (cli.folder / "many.toml").write_text(small, encoding="utf-8")
    document = cli.json("leaderboard", "many.toml", "--over-all")
    assert document["critical_difference"] is None
    assert document["no_critical_difference"].endswith("here are 3")
    assert document["too_few_trials"] == {"adam": 6, "momentum": 6, "sgd": 6}
    assert document["interquartile_means"] == []
