"""The reference results belong to the present benchmarks, and the project's promises for ``quick`` hold."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest

from support import CommandLine
from thalweg import guard
from thalweg.expand import load_benchmark
from thalweg.registry import Registry
from thalweg.scoring.observations import observe
from thalweg.selection import Selection
from thalweg.store.claims import ClaimResults
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.unpack import unpack
from thalweg.store.verify import verify
from thalweg.tuning.plan import plan_of

REFERENCE = Path(__file__).parents[1] / "results" / "reference"


BENCHMARKS = {
    "quick": 63, "kfac": 30, "analytic": 245, "cpu": 90, "baselines": 320, "tuned": 635, "tuned-convnet": 141,
    "broad": 870, "ladders": 5502, "language-track": 102, "landscapes": 32,
}  # fmt: skip


@pytest.mark.parametrize(("name", "trials"), BENCHMARKS.items())
def test_every_trial_of_a_benchmark_has_a_whole_reference_result(registry: Registry, name: str, trials: int) -> None:
    results = BenchmarkResults(REFERENCE, name)
    benchmark = load_benchmark(name, registry)
    assert results.files.read("benchmark.toml", guard.TEXT).decode() == benchmark.text
    stored = read_stored(results)
    plan = plan_of(benchmark, registry, Selection(stacks=stored.way()), stored)
    assert plan.settled
    seen = observe(plan, stored)
    assert (seen.missing, seen.beside) == (0, 0)
    # a rate at the edge of stability diverges on some seeds, which is a result
    may_diverge = name in ("cpu", "tuned", "tuned-convnet", "broad", "ladders", "language-track")
    assert set(seen.trials["status"]) <= ({"done", "diverged"} if may_diverge else {"done"})
    whole, faults = verify(results)
    assert (whole, faults) == (trials, [])


FEW = [name for name, trials in BENCHMARKS.items() if trials < 1000]
"""Benchmarks that are unpacked in a few seconds."""


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference results as folders."""
    root = tmp_path_factory.mktemp("unpacked")
    for name in FEW:
        unpack(REFERENCE / f"{name}.thalweg", root / name)
    return root


@pytest.mark.parametrize("name", FEW)
def test_packed_reference_results_say_what_their_folders_say(cli: CommandLine, unpacked: Path, name: str) -> None:
    for link, root in (("packed", REFERENCE), ("plain", unpacked)):
        (cli.folder / link).symlink_to(root, target_is_directory=True)
    asked = [["leaderboard", name, "--results"], ["results", "list", name, "--results"], ["compare", "plain"]]
    asked += [["tuning", name, "--results"]] if name == "tuned" else []
    for words in asked:
        more = ["--benchmark", name] if words[0] == "compare" else []
        done = [cli.anyhow(*words, root, *more, "--json") for root in ("packed", "plain")]
        assert done[0].returncode == done[1].returncode == 0
        assert done[0].stdout.replace("packed", "plain") == done[1].stdout
        assert done[0].stderr == done[1].stderr


def test_reference_results_come_from_committed_code_and_are_small() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == {f"{name}.thalweg" for name in (*BENCHMARKS, "claims")}
    for name in BENCHMARKS:
        stored, _ = BenchmarkResults(REFERENCE, name).scan()
        commits = {trial.document.environment["git_commit"] for trial in stored}
        assert all(commit and not commit.endswith("+changes") for commit in commits)
    claims = ClaimResults(REFERENCE)
    for id_ in claims.ids:
        for one in claims.of(id_)[0]:
            commit = one.document.environment["git_commit"]
            assert commit
            assert not commit.endswith("+changes")
    assert sum(path.stat().st_size for path in REFERENCE.iterdir()) < 80_000_000


def test_the_convnet_reaches_88_percent_on_the_whole_test_set_of_fashion_mnist(registry: Registry) -> None:
    benchmark = load_benchmark("cpu", registry)
    stored = read_stored(BenchmarkResults(REFERENCE, "cpu"))
    assert registry.problem("fashion-mnist").sizes({"examples": 60_000})["test"] == 10_000
    curves = observe(benchmark.expand(registry), stored).curves
    rows = curves[(curves["workload"] == "fashion-convnet") & (curves["split"] == "test")]
    rows = rows[(rows["optimizer"] == "adam") & (rows["metric"] == "accuracy")]
    assert len(rows) == 3
    assert rows["value"].min() >= 0.88


def test_adam_reaches_97_percent_test_accuracy_on_digits(cli: CommandLine) -> None:
    cli("run", "quick", "--only", "workload=digits-mlp", "--only", "optimizer=adam")
    rows = cli.json("leaderboard", "quick", "--workload", "digits-mlp")["rows"]
    assert [row["optimizer"] for row in rows] == ["adam"]
    assert rows[0]["value"] >= 0.97


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_a_reference_result_can_be_reproduced(cli: CommandLine, optimizer: str) -> None:
    """To rounding on another machine: the first evaluations, before rounding errors have grown."""
    words = ["--only", "workload=quadratic", "--only", f"optimizer={optimizer}", "--only", "seed=0"]
    cli("run", "quick", *words)
    (trial,), _ = BenchmarkResults(cli.folder / "results" / "local", "quick").scan()
    reference = BenchmarkResults(REFERENCE, "quick").find(trial.document.hash)
    assert reference is not None
    ours, theirs = trial.curve()["value"].head(5).tolist(), reference.curve()["value"].head(5).tolist()
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert mean(ours) > 0
