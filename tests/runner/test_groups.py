"""Small trials that differ in seed or in hyperparameters are trained in one job, and saved as if they had not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import CommandLine, leftovers, results
from thalweg.benchmark import load_benchmark
from thalweg.registry import Registry
from thalweg.runner import groups
from thalweg.runner.groups import Group, groups_of
from thalweg.runner.run import trials_of
from thalweg.runner.work import Job
from thalweg.selection import Selection
from thalweg.store.results import StoredTrial

TEXT = """
seeds = 4

[workloads.small]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { epochs = 2 }
batch_size = 128
validation_fraction = 0.2
target = { metric = "accuracy", value = 0.5 }

[optimizers.sgd]
lr = 0.05

[optimizers.adam]

[optimizers.adam-fast]
optimizer = "adam"
lr = 0.01
"""

PLUGIN = """
import thalweg
from thalweg_plugins.optimizers.sgd import SGD


class Odd(SGD):
    name = "odd"

    def build(self, module, h, context):
        return super().build(module, h, context)

    def build_stacked(self, module, members, context):
        stepper = super().build_stacked(module, members, context)

        def broken(objective):
            raise RuntimeError("not together")

        stepper.step = broken
        return stepper


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Odd)
"""


@pytest.fixture
def benchmark_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def jobs(path: Path, registry: Registry, seeds: int | None = None) -> list[Job]:
    plan = load_benchmark(str(path), registry).expand(registry, Selection(seeds))
    return [Job(planned, path.parent / "results", plan.benchmark) for planned in trials_of(plan)]


def sizes(given: list[Group]) -> list[int]:
    return sorted(len(group.jobs) for group in given)


def stored(cli: CommandLine) -> dict[str, StoredTrial]:
    found, unreadable = results(cli).scan()
    assert unreadable == []
    return {trial.document.hash: trial for trial in found}


@pytest.mark.parametrize("how", [[], ["-j", "2"]])
def test_a_batched_run_gives_what_one_at_a_time_gives(cli: CommandLine, benchmark_file: Path, how: list[str]) -> None:
    report = cli.json("run", "small.toml", *how)
    assert report["trials"] == {"total": 12, "trained": 12, "cached": 0, "diverged": 0, "failed": 0}
    together = {hash_: (trial.document, trial.curve()) for hash_, trial in stored(cli).items()}
    # with two workers there are two jobs at least for them
    members = [document.summary["batched"] for document, _ in together.values()]
    assert all(size >= 2 for size in members)
    assert cli.json("run", "small.toml")["trials"]["cached"] == 12
    cli("results", "verify")
    assert leftovers(cli) == []

    cli.json("run", "small.toml", "--no-batching", "--fresh")
    for hash_, trial in stored(cli).items():
        document, curve = together[hash_]
        assert "batched" not in trial.document.summary
        assert document.status == trial.document.status == "done"
        assert document.summary["selected_step"] == trial.document.summary["selected_step"]
        positions = ["step", "epoch", "examples", "gradient_evaluations", "split", "metric"]
        alone = trial.curve()
        assert curve[positions].equals(alone[positions])
        np.testing.assert_allclose(curve["value"], alone["value"], rtol=1e-5)


def test_without_batching_a_run_is_bitwise_the_same(cli: CommandLine, benchmark_file: Path) -> None:
    words = ["run", "small.toml", "--no-batching", "--only", "optimizer=adam"]
    cli.json(*words)
    first = {hash_: trial.curve() for hash_, trial in stored(cli).items()}
    cli.json(*words, "--fresh")
    for hash_, trial in stored(cli).items():
        assert first[hash_]["value"].equals(trial.curve()["value"])


def test_trials_of_a_group_that_are_there_are_left_alone(cli: CommandLine, benchmark_file: Path) -> None:
    cli.json("run", "small.toml", "--only", "seed=0,1")
    before = {hash_: trial.document.files for hash_, trial in stored(cli).items()}
    report = cli.json("run", "small.toml")
    assert report["trials"]["cached"] == 6
    after = stored(cli)
    assert len(after) == 12
    assert all(after[hash_].document.files == files for hash_, files in before.items())


def test_a_group_that_raises_is_trained_one_at_a_time(cli: CommandLine, benchmark_file: Path) -> None:
    (benchmark_file.parent / "odd.py").write_text(PLUGIN, encoding="utf-8")
    words = ["--plugin", "odd.py", "--with", "optimizer=odd", "--only", "optimizer=odd,sgd"]
    report = cli.json("run", "small.toml", *words)
    assert report["trials"]["trained"] == 8
    assert report["failures"] == []
    for trial in stored(cli).values():
        assert ("batched" in trial.document.summary) == (trial.document.trial.optimizer.name == "sgd")
    assert leftovers(cli) == []


def test_a_member_that_diverges_is_saved_as_diverged(cli: CommandLine, benchmark_file: Path) -> None:
    words = ["--with", "optimizer=momentum:lr=1e30", "--only", "optimizer=momentum:lr=1e30"]
    report = cli.json("run", "small.toml", *words)["trials"]
    assert report["diverged"] >= 1
    assert report["failed"] == 0
    assert all("batched" in trial.document.summary for trial in stored(cli).values())


def test_an_interrupted_group_is_on_record_as_cut_off(
    cli: CommandLine, benchmark_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("thalweg.training.stacked.train_together", interrupted)
        cli("run", "small.toml", "--only", "optimizer=sgd", "--quiet", code=130)
    assert {trial.document.reason.split(":")[0] for trial in stored(cli).values()} == {"Killed"}
    assert len(stored(cli)) == 4
    assert cli.json("run", "small.toml", "--only", "optimizer=sgd")["trials"]["trained"] == 4


def test_groups_keep_every_worker_busy(registry: Registry, benchmark_file: Path) -> None:
    given = jobs(benchmark_file, registry)
    # both settings of adam together
    assert sizes(groups_of(given, registry, 1)) == [4, 8]
    assert sizes(groups_of(given, registry, 3)) == [4, 4, 4]
    assert sizes(groups_of(given, registry, 12)) == [1] * 12
    assert sizes(groups_of(given, registry, None)) == [1] * 12
    many = groups_of(jobs(benchmark_file, registry, 20), registry, 1)
    assert sizes(many) == [20, 20, 20]
    assert {job.planned.title for group in many for job in group.jobs} == {
        job.planned.title for job in jobs(benchmark_file, registry, 20)
    }


def test_what_gains_nothing_or_is_looked_at_trains_alone(
    registry: Registry, benchmark_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = benchmark_file.read_text(encoding="utf-8")
    benchmark_file.write_text(text + "\n[probes.gradient-flow]\nseeds = [0]\n", encoding="utf-8")
    assert sizes(groups_of(jobs(benchmark_file, registry), registry, 1)) == [1, 1, 1, 3, 6]
    benchmark_file.write_text(text.replace("[8]", "[512, 512]"), encoding="utf-8")
    assert sizes(groups_of(jobs(benchmark_file, registry), registry, 1)) == [1] * 12
    benchmark_file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(groups, "NUMBERS", 2000)
    # a network of 610 numbers
    assert sizes(groups_of(jobs(benchmark_file, registry), registry, 1)) == [2, 2, 2, 3, 3]
