"""Which trials a benchmark's view holds, and under which names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.many_trials import write_many
from thalweg.errors import UserError
from thalweg.expand import read_benchmark
from thalweg.kept import kept_benchmark
from thalweg.present.curves import sparklines
from thalweg.present.view import ADDED, IN_BENCHMARK, NOT_EXPANDED, View, make_view, read_together
from thalweg.registry import load_registry
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import MEASURES, STABILITY
from thalweg.scoring.observations import EVERYTHING
from thalweg.scoring.over_all import over_all
from thalweg.scoring.scales import settled
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults


def view(root: Path, name: str, file: Path | None = None, plugins: tuple[Path, ...] = ()) -> View:
    stored = read_stored(BenchmarkResults(root, name))
    benchmark = read_benchmark(file) if file else kept_benchmark(BenchmarkResults(root, name))
    return make_view(benchmark, load_registry(plugins), stored)


def test_every_trial_on_disk_is_in_the_view_once(results: Path) -> None:
    found = view(results, "tiny")
    assert sorted(found.seen.trials["hash"]) == sorted(found.stored)
    origin = found.seen.trials.groupby("optimizer")["in_benchmark"].agg(set)
    assert origin["sgd"] == {IN_BENCHMARK, ADDED}  # one more seed than declared
    assert origin["adam:lr=0.1"] == {ADDED}
    assert found.optimizers == ["adam:lr=0.1", "sgd", "wild"]


def test_trials_of_one_name_with_other_settings_get_a_name_of_their_own(results: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    text = (results / "tiny" / "benchmark.toml").read_text(encoding="utf-8")
    changed.write_text(text.replace("lr = 0.01", "lr = 0.02"), encoding="utf-8")
    found = view(results, "tiny", changed)
    quadratic = found.seen.trials[found.seen.trials["workload"] == "quadratic"]
    names = sorted(set(quadratic["optimizer"]))
    assert names[:1] == ["adam:lr=0.1"]
    assert names[1].startswith("sgd [")
    assert names[2:] == ["wild"]
    assert found.missing == ["quadratic · sgd · seed 0", "quadratic · sgd · seed 1"]


def test_a_workload_that_the_benchmark_dropped_is_counted_and_not_shown(results: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    text = (results / "tiny" / "benchmark.toml").read_text(encoding="utf-8")
    changed.write_text(
        text.replace("workloads.quadratic]", "workloads.longer]").replace("steps = 20", "steps = 21"), encoding="utf-8"
    )
    found = view(results, "tiny", changed)
    assert set(found.seen.trials["workload"]) == {"digits-mlp"}
    assert found.elsewhere == 7


def test_what_expands_is_ranked_when_a_plugin_is_not_here(results: Path, plugin_file: Path) -> None:
    found = view(results, "outside")
    assert any("halving" in problem for problem in found.problems)
    origin = dict(zip(found.seen.trials["optimizer"], found.seen.trials["in_benchmark"], strict=True))
    assert origin == {"adam": IN_BENCHMARK, "sgd": IN_BENCHMARK, "halving": NOT_EXPANDED, "raising": NOT_EXPANDED}
    assert found.guessed == []
    assert view(results, "outside", plugins=(plugin_file,)).problems == []


def test_without_a_benchmark_the_workloads_are_derived_from_the_curves(results: Path) -> None:
    stored = read_stored(BenchmarkResults(results, "tiny"))
    found = make_view(None, load_registry(), stored)
    assert found.guessed == ["digits-mlp", "quadratic"]
    assert {workload.metric.name for workload in found.workloads.values()} == {"loss"}
    assert found.workloads["digits-mlp"].split == "test"


@pytest.mark.parametrize("name", ["tiny", "outside", "many"])
def test_parts_of_the_curves_give_what_all_of_them_give(results: Path, tmp_path: Path, name: str) -> None:
    if name == "many":
        write_many(tmp_path, 12, workloads=2, optimizers=3)
    found = view(tmp_path / "results" if name == "many" else results, name)
    everything = read_together(found.sources, EVERYTHING)
    # of many trials, whose workloads have an accuracy and a loss, the accuracies are read
    assert (len(found.seen.curves) < len(everything) / 2) == (name == "many")
    whole = replace(found.seen, curves=everything)
    for by in (None, "loss", *(measure for measure in MEASURES if measure != STABILITY.name)):
        try:
            board = leaderboard(whole, found.workloads, by)
        except UserError:
            board = pd.DataFrame(columns=["workload"])
        pd.testing.assert_frame_equal(found.ranked(by).board, board)
        assert found.ranked(by).workloads == settled(found.workloads, everything, by)
    for key, workload in found.workloads.items():
        mine = everything[everything["workload"] == key]
        assert found.sparklines(workload) == sparklines(mine, workload)
        assert len(found.curves(key)) == len(mine)
        assert found.curves(key)["value"].equals(mine["value"].reset_index(drop=True))
    assert found.with_curves == [key for key in found.workloads if (everything["workload"] == key).any()]
    assert found.plan is not None
    if found.over_all is not None:
        pd.testing.assert_frame_equal(found.over_all.table, over_all(found.plan, whole).table)
