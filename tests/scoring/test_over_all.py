"""Scores over all workloads, against cases computed by hand and an independent implementation."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hostile import change, put
from support import CommandLine
from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.kept import find_benchmark
from thalweg.plan import Workload
from thalweg.present.expansion import best_expansion
from thalweg.registry import load_registry
from thalweg.scoring.observations import observe
from thalweg.scoring.over_all import DECADES, ecdf_curve, ecdf_scores, runtimes
from thalweg.scoring.profiles import R_MAX, profile_curve, profile_score, profiles
from thalweg.scoring.targets import targets_of
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def workload(metric: Metric, value: float, start: float | None = None) -> Workload:
    target = Target(metric=metric.name, value=value)
    return Workload("w", (metric,), metric, "test", target, "valid", metric, start=start)


def times(rows: list[tuple[str, str, int, int, float, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["workload", "optimizer", "seed", "target", "share", "spent"])


def drawn(optimizers: list[str], seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    rows = []
    for w, o, s, t in itertools.product(["a", "b", "c"], optimizers, range(4), range(3)):
        share = float(10 ** draw.uniform(-2.5, 0.3))
        share = share if share <= 1 else math.inf
        rows.append((w, o, s, t, share, 1000 * share))
    return times(rows)


def test_targets_lie_between_the_start_and_the_workloads_own_target() -> None:
    accuracy, loss = Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log")
    # errors 0.9 at the start and 0.9 / 16 at the target: halved from target to target
    np.testing.assert_allclose(
        targets_of(workload(accuracy, 1 - 0.9 / 16, 0.1)), [1 - 0.9 / 2**k for k in (4, 3, 2, 1)]
    )
    np.testing.assert_allclose(targets_of(workload(loss, 1e-6, 1e2)), [1e-6, 1e-4, 1e-2, 1.0])
    wrong = Metric("wrong", "lower", unit="%")
    np.testing.assert_allclose(targets_of(workload(wrong, 0.0081, 0.5)), 0.0081 * (0.5 / 0.0081) ** (np.arange(4) / 4))
    assert targets_of(Workload("w", (loss,), loss, "test", None, "valid", None)) == []


def test_targets_without_an_error_are_evenly_spaced() -> None:
    accuracy, loss = Metric("accuracy", "higher", unit="%"), Metric("loss", "lower")
    np.testing.assert_allclose(targets_of(workload(accuracy, 1.0, 0.6)), [1.0, 0.9, 0.8, 0.7])
    np.testing.assert_allclose(targets_of(workload(loss, -3.0, 1.0)), [-3.0, -2.0, -1.0, 0.0])
    np.testing.assert_allclose(targets_of(workload(Metric("reward", "higher"), 40.0, 0.0)), [40.0, 30.0, 20.0, 10.0])


def test_a_workload_whose_start_is_unknown_or_good_enough_has_its_own_target_alone() -> None:
    accuracy, loss = Metric("accuracy", "higher", unit="%"), Metric("loss", "lower", "log")
    for start in (None, 0.5, 0.7, math.nan):
        assert targets_of(workload(accuracy, 0.5, start)) == [0.5]
    assert targets_of(workload(loss, 0.5, 0.4)) == [0.5]


def test_the_area_is_that_of_a_case_by_hand() -> None:
    # one workload reached at 1% and 10% of the budget, another by one of two seeds at the end and by the other never
    rows = [
        ("a", "x", 0, 0, 0.01, 1),
        ("a", "x", 1, 0, 0.1, 10),
        ("b", "x", 0, 0, 1.0, 100),
        ("b", "x", 1, 0, math.inf, 0),
    ]
    table = ecdf_scores(times(rows))  # type: ignore[arg-type]
    # seed 0: (1 + 0) / 2, seed 1: (0.5 + 0) / 2
    assert table.loc["x", "ecdf"] == pytest.approx((0.5 + 0.25) / 2)
    half = 12.706 * np.std([0.5, 0.25], ddof=1) / math.sqrt(2)
    assert (table.loc["x", "low"], table.loc["x", "high"]) == pytest.approx((0.0, min(1.0, 0.375 + half)), abs=1e-3)


def test_the_area_is_that_under_the_curve() -> None:
    rows = drawn(["x", "y"])
    table, curve = ecdf_scores(rows), ecdf_curve(rows, 4001)
    for optimizer, part in curve.groupby("optimizer"):
        area = np.trapezoid(part["reached"], np.log10(part["share"])) / DECADES
        assert table.loc[optimizer, "ecdf"] == pytest.approx(area, abs=2e-3)
        # by brute force: the share of pairs, each workload counting the same
        mine = rows[rows["optimizer"] == optimizer]
        at = part["share"].iloc[2000]
        expected = np.mean([np.mean([row <= at for row in group["share"]]) for _, group in mine.groupby("workload")])
        assert part["reached"].iloc[2000] == pytest.approx(expected)


def test_who_else_is_there_changes_neither_areas_nor_order() -> None:
    few, many = drawn(["x", "y", "z"]), drawn(["x", "y", "z"])
    best = many[many["optimizer"] == "x"].assign(optimizer="best", share=0.001, spent=1.0)
    worst = best.assign(optimizer="worst", share=math.inf, spent=math.inf)
    alone = ecdf_scores(few)
    together = ecdf_scores(pd.concat([best, many, worst], ignore_index=True))
    pd.testing.assert_frame_equal(together.loc[["x", "y", "z"]], alone, check_exact=True)
    # AlgoPerf's score does change, which is why it is marked
    before, after = profiles(few, ["x", "y", "z"]), profiles(pd.concat([best, many]), ["best", "x", "y", "z"])
    assert before["x"] != after["x"]


def test_performance_profiles_by_hand_and_by_brute_force() -> None:
    steps = {"x": {"a": 10.0, "b": 40.0}, "y": {"a": 20.0, "b": 10.0}, "z": {"a": math.inf, "b": 30.0}}
    rows = [(w, o, s, 0, 0.1, value) for o, of in steps.items() for w, value in of.items() for s in range(3)]
    found = profiles(times(rows), ["x", "y", "z"])  # type: ignore[arg-type]
    # ratios: x 1 and 4, y 2 and 1, z never and 3
    expected = {"x": (1 + 0) / 2, "y": (2 / 3 + 1) / 2, "z": (0 + 1 / 3) / 2}
    assert found == pytest.approx(expected)
    ratios = np.random.default_rng(0).uniform(1, 6, 50)
    taus = np.linspace(1, R_MAX, 30001)
    area = np.trapezoid([(ratios <= tau).mean() for tau in taus], taus) / (R_MAX - 1)
    assert float(profile_score(ratios)) == pytest.approx(area, abs=1e-3)


def test_the_profile_is_the_curve_whose_area_is_the_score() -> None:
    draw = np.random.default_rng(2)
    rows = [(w, o, s, 0, 0.1, float(np.exp(draw.normal(3, 1)))) for w in "abcdef" for o in "xyz" for s in range(3)]
    curve = profile_curve(times(rows), ["x", "y", "z"], 6001)
    for optimizer, score in profiles(times(rows), ["x", "y", "z"]).items():
        part = curve[curve["optimizer"] == optimizer]
        assert np.trapezoid(part["within"], part["tau"]) / (R_MAX - 1) == pytest.approx(score, abs=2e-3)
        assert part["within"].is_monotonic_increasing
    # at 1 on as many workloads as it is the fastest of all; these are six without a tie
    assert curve[curve["tau"] == 1.0]["within"].sum() == pytest.approx(1)


def test_ties_are_not_broken_by_rounding() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        shares = 10 ** draw.uniform(-2, 0, 5)
        rows = [("a", "x", s, 0, share, 1.0) for s, share in enumerate(shares)]
        rows += [("a", "y", s, 0, share, 1.0) for s, share in enumerate(draw.permutation(shares))]
        table = ecdf_scores(times(rows))  # type: ignore[arg-type]
        assert table.loc["x", "ecdf"] == table.loc["y", "ecdf"]


def test_a_seed_that_lacks_a_workload_is_counted_as_left_out(cli: CommandLine) -> None:
    text = "seeds = 3\n[optimizers.sgd]\nlr = 0.01\n[optimizers.adam]\n"
    for number in range(2):
        text += (
            f'[workloads.q{number}]\nproblem = {{ name = "quadratic", dim = {number + 2}, kappa = 2.0 }}\n'
            'architecture = "point"\nbudget = { steps = 20 }\ntarget = { metric = "loss", value = 1e-2 }\n'
        )
    (cli.folder / "small.toml").write_text(text, encoding="utf-8")
    cli("run", "small.toml", "--only", "seed=0")
    cli("run", "small.toml", "--only", "workload=q0", "--only", "optimizer=sgd")
    done = cli("leaderboard", "small.toml", "--over-all")
    assert "2 seeds that lack a workload do not count" in done.stderr
    assert {row["seeds"] for row in cli.json("leaderboard", "small.toml", "--over-all")["rows"]} == {1}


def test_a_target_that_is_met_at_the_start_is_a_tie() -> None:
    rows = [("a", "x", 0, 0, 0.0, 0.0), ("a", "y", 0, 0, 0.0, 0.0), ("a", "z", 0, 0, 0.1, 5.0)]
    assert profiles(times(rows), ["x", "y", "z"]) == {"x": 1, "y": 1, "z": 0}


def test_the_command_ranks_and_names_what_it_leaves_out(cli: CommandLine) -> None:
    words = ("leaderboard", "cpu", "--over-all", "--results", str(REFERENCE))
    document = cli.json(*words)
    assert document["without_target"] == ["digits-resnet", "mnist1d-convnet", "fashion-10k-convnet"]
    assert document["own_target_only"] == []
    rows = document["rows"]
    # no interval of the profile score is known that covers
    assert {(row["profile_low"], row["profile_high"]) for row in rows} == {(None, None)}
    assert all(0 <= row["profile"] <= 1 for row in rows)
    assert [row["ecdf"] for row in rows] == sorted((row["ecdf"] for row in rows), reverse=True)
    assert "| adam |" in cli(*words, "--format", "markdown").stdout
    assert cli(*words, "--format", "csv").stdout.startswith("rank,")
    assert "leave out" in cli(*words, "--workload", "digits-mlp", code=2).stderr


def test_an_optimizer_without_trials_on_a_workload_is_not_ranked(cli: CommandLine) -> None:
    (cli.folder / "small.toml").write_text(
        """
seeds = 2
[workloads.a]
problem = "quadratic"
architecture = "point"
budget = { steps = 20 }
target = { metric = "loss", value = 1.0 }
[workloads.b]
problem = { name = "quadratic", dim = 3 }
architecture = "point"
budget = { steps = 20 }
target = { metric = "loss", value = 1.0 }
[optimizers.sgd]
lr = 0.01
[optimizers.adam]
""",
        encoding="utf-8",
    )
    cli("run", "small.toml", "--only", "optimizer=sgd")
    cli("run", "small.toml", "--only", "workload=a")
    document = cli.json("leaderboard", "small.toml", "--over-all")
    assert document["incomplete"] == {"adam": ["b"]}
    assert [row["optimizer"] for row in document["rows"]] == ["sgd"]
    # with one seed on the other workload, that seed alone counts
    cli("run", "small.toml", "--only", "optimizer=adam", "--only", "seed=1")
    rows = {row["optimizer"]: row for row in cli.json("leaderboard", "small.toml", "--over-all")["rows"]}
    assert rows["sgd"]["low"] is not None
    assert rows["adam"]["low"] is None
    assert "no results of 'quick' there" in cli("leaderboard", "quick", "--over-all", code=3).stderr
    cli("run", "quick", "--only", "workload=quadratic", "--only", "optimizer=adam", "--only", "seed=0")
    told = cli("leaderboard", "quick", "--over-all", code=3).stderr
    assert "no optimizer has a seed on every workload" in told
    assert "adam is not ranked: it has no trial on digits-mlp, digits-deep-mlp" in told


def test_a_benchmark_without_targets_is_told_in_one_whole_sentence(cli: CommandLine) -> None:
    words = ("leaderboard", "kfac", "--over-all", "--results", str(REFERENCE))
    for form in ("table", "markdown"):
        done = cli(*words, "--format", form, code=3)
        assert done.stdout == ""
        assert done.stderr == "nothing can be ranked: no workload has a target\n"
    assert cli.json(*words, code=3)["incomplete"] == {}


def test_workloads_without_easier_targets_are_named(cli: CommandLine) -> None:
    words = ("leaderboard", "analytic", "--over-all", "--results", str(REFERENCE))
    assert cli.json(*words)["own_target_only"] == ["rastrigin", "styblinski-tang"]
    assert "worse than the target: rastrigin, styblinski-tang" in cli(*words).stderr


def test_old_results_are_ranked_by_examples_and_the_board_says_so(cli: CommandLine) -> None:
    """A workload has one unit: of trials with and without work, all are compared by examples."""
    text = "seeds = 2\n[optimizers.sgd]\nlr = 0.01\n[optimizers.newton]\n"
    for name in ("one", "two"):
        text += (
            f'[workloads.{name}]\nproblem = {{ name = "quadratic", dim = 3, kappa = 2.0, instance = {len(text)} }}\n'
            'architecture = "point"\nbudget = { steps = 20 }\ntarget = { metric = "loss", value = 1e-1 }\n'
        )
    (cli.folder / "small.toml").write_text(text, encoding="utf-8")
    cli("run", "small.toml")
    words = ("leaderboard", "small.toml", "--over-all")
    assert cli.json(*words)["without_work"] == []
    done = cli(*words)
    assert "AlgoPerf's score, of work)" in done.stderr
    assert "examples" not in done.stderr
    found = runtimes_of(cli)
    # a step of Newton's method takes a gradient, three products with the Hessian, and the loss at the new point; of a
    # quadratic function, a product with the Hessian costs a gradient, and the loss half of one
    newton = found[(found["optimizer"] == "newton") & (found["target"] == 0)]
    assert newton["spent"].tolist() == pytest.approx([1 + 3 + 1 / 2] * 4)
    folder = next(path for path in (cli.folder / "results/local/small/trials").glob("one--newton--*"))
    without_work(folder)
    assert cli.json(*words)["without_work"] == ["one"]
    done = cli(*words)
    assert "AlgoPerf's score, of work or examples evaluated)" in done.stderr
    assert "cost is examples evaluated, and not work, on one: some results" in " ".join(done.stderr.split())
    found = runtimes_of(cli).query("target == 0").set_index(["workload", "optimizer"])
    assert {*found["unit"]["one"]} == {"examples"}
    assert {*found["unit"]["two"]} == {"work"}
    assert found["spent"]["one", "newton"].tolist() == [2.0, 2.0]
    # the trial stays done, and has no cost in work
    assert "cached" in cli("run", "small.toml").stdout or cli.json("run", "small.toml")["trials"]["trained"] == 0
    rows = cli.json("leaderboard", "small.toml", "--metric", "work_to_target")["rows"]
    values = {(row["workload"], row["optimizer"]): row["value"] for row in rows}
    assert values["one", "newton"] is None
    # nor does it count as a trial that missed the target
    compared = cli.json("compare", "results/local", "results/local", "--metric", "work_to_target")["rows"]
    (old,) = (row for row in compared if (row["workload"], row["optimizer"]) == ("one", "newton"))
    assert (old["seeds"], old["lost"]) == (1, 0)
    assert values["two", "newton"] == pytest.approx(1 + 3 + 1 / 2)


def runtimes_of(cli: CommandLine) -> pd.DataFrame:
    root, registry = cli.folder / "results" / "local", load_registry()
    benchmark = find_benchmark(str(cli.folder / "small.toml"), registry, root)
    stored = read_stored(BenchmarkResults(root, "small"))
    plan = best_expansion(benchmark, registry, stored, Selection()).plan
    return runtimes(plan, observe(plan, stored))


def without_work(folder: Path) -> None:
    """Make a trial as old versions wrote it."""
    curve = pd.read_parquet(folder / "curve.parquet").drop(columns="work")
    put(folder, "curve.parquet", curve.to_parquet())
    change(folder, lambda document: [document["summary"].pop(key) for key in ("work", "costs", "evaluations")])
