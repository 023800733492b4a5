"""Small trials that differ in seed or hyperparameters train in one job, and are saved as single trials."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from support import CommandLine, leftovers, results
from thalweg.benchmark_file import TUNING_SEED
from thalweg.expand import load_benchmark
from thalweg.present.view import make_view
from thalweg.registry import Registry, load_registry
from thalweg.runner.groups import Group, groups_of
from thalweg.runner.run import trials_of
from thalweg.runner.stacking import Rule
from thalweg.runner.work import Job
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.store.listing import index_folder
from thalweg.store.results import BenchmarkResults
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import read_weights
from thalweg.training.stacked import stackable

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
import itertools
import thalweg
from thalweg_plugins.optimizers.first_order.sgd import SGD


class Odd(SGD):
    name = "odd"

    def build(self, module, h, context):
        return super().build(module, h, context)

    def build_stacked(self, module, members, context):
        stepper = super().build_stacked(module, members, context)
        step, steps = stepper.step, itertools.count()

        def broken(objective):
            if next(steps) == 40:
                raise RuntimeError("not together")
            return step(objective)

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
    benchmark = load_benchmark(str(path), registry)
    rule = Rule(registry, BenchmarkResults(path.parent / "results", benchmark.name))
    plan = benchmark.expand(registry, Selection(seeds, stacks=rule))
    return [Job(planned, path.parent / "results", plan.benchmark) for planned in trials_of(plan)]


def sizes(given: list[Group]) -> list[int]:
    return sorted(len(group.jobs) for group in given)


def stored(cli: CommandLine) -> dict[str, StoredTrial]:
    found, unreadable = results(cli).scan()
    assert unreadable == []
    return {trial.document.hash: trial for trial in found}


def values(cli: CommandLine) -> dict[str, Any]:
    return {hash_: trial.curve().drop(columns="seconds") for hash_, trial in stored(cli).items()}


def test_a_batched_run_gives_what_one_at_a_time_gives_to_rounding(cli: CommandLine, benchmark_file: Path) -> None:
    text = benchmark_file.read_text(encoding="utf-8")
    benchmark_file.write_text(text.replace("batch_size = 128", 'batch_size = 128\ndtype = "float64"'), encoding="utf-8")
    report = cli.json("run", "small.toml")
    assert report["trials"] == {"total": 12, "trained": 12, "cached": 0, "diverged": 0, "failed": 0}
    assert {trial.document.summary["batched"] for trial in stored(cli).values()} == {4}
    together = {title(trial): trial.curve() for trial in stored(cli).values()}
    assert cli.json("run", "small.toml")["trials"]["cached"] == 12
    cli("results", "verify")
    assert leftovers(cli) == []

    # each way has hashes of its own
    assert cli.json("run", "small.toml", "--no-batching")["trials"]["trained"] == 12
    apart = [trial for trial in stored(cli).values() if "batched" not in trial.document.summary]
    assert len(apart) == 12
    for trial in apart:
        alone, curve = trial.curve(), together[title(trial)]
        positions = ["step", "epoch", "examples", "gradient_evaluations", "split", "metric"]
        assert curve[positions].equals(alone[positions])
        np.testing.assert_allclose(curve["value"], alone["value"], rtol=1e-11)


def title(trial: StoredTrial) -> tuple[str, int]:
    return trial.document.optimizer, trial.document.trial.seed


@pytest.mark.parametrize("network", ["mlp", "deep-mlp"])
def test_a_members_bits_depend_on_nobody_else(cli: CommandLine, benchmark_file: Path, network: str) -> None:
    """On 1, 3, 8 and 10 seeds, seeds added later, beside members that diverge, under every executor: in float32."""
    text = benchmark_file.read_text(encoding="utf-8")
    if network == "deep-mlp":
        deep = 'name = "deep-mlp", depth = 3, width = 11, residual = "plain", norm = "batch"'
        text = text.replace('name = "mlp", widths = [8]', deep)
    benchmark_file.write_text(text, encoding="utf-8")
    cli("run", "small.toml", "--seeds", "10", "--results", "ten")
    runs = {
        "one": [["--seeds", "1"]],
        "three": [["--seeds", "3"]],
        "eight": [["--seeds", "8"]],
        "grown": [["--only", "seed=2"], ["--seeds", "10", "--only", "seed=0,7"], ["--seeds", "10", "-j", "2"]],
        "timeout": [["--timeout", "300"]],
        "diverging": [["--with", "optimizer=adam:lr=1e30", "--seeds", "5"]],
    }
    if network == "mlp":
        runs["dask"] = [["--executor", "dask", "-j", "2", "--only", "optimizer=adam"]]
    expected = curves_in(cli, "ten")
    assert len(expected) == 30
    for name, commands in runs.items():
        for words in commands:
            cli("run", "small.toml", *words, "--results", name)
        found = curves_in(cli, name)
        assert found
        for key, curve in found.items():
            if "1e30" not in key[0]:
                pd.testing.assert_frame_equal(curve, expected[key], check_exact=True, obj=f"{name} {key}")


def curves_in(cli: CommandLine, folder: str) -> dict[tuple[str, int, str], pd.DataFrame]:
    found, _ = BenchmarkResults(cli.folder / folder, "small").scan()
    return {(*title(one), one.document.hash): one.curve().drop(columns="seconds") for one in found}


def test_settings_that_are_tuned_share_a_stack_and_no_bits(cli: CommandLine, benchmark_file: Path) -> None:
    text = benchmark_file.read_text(encoding="utf-8") + "\n[tuning]\nbudgets = [3]\n"
    benchmark_file.write_text(text, encoding="utf-8")
    cli("run", "small.toml", "--only", "optimizer=adam,sgd", "--results", "whole")
    whole = curves_in(cli, "whole")
    tuned = [key for key in whole if key[1] >= TUNING_SEED]
    assert len(tuned) >= 6
    (cli.folder / "one").mkdir()
    kept = BenchmarkResults(cli.folder / "whole", "small")
    for one in kept.scan()[0]:
        # of each optimizer the first setting is trained again without the others
        if one.document.trial.stack is not None and one.document.trial.stack.rows:
            assert one.document.trial.stack.size == 4
    lost = [one for one in kept.scan()[0] if one.document.trial.seed >= TUNING_SEED][::3]
    for one in lost:
        shutil.rmtree(one.path)
    cli("run", "small.toml", "--only", "optimizer=adam,sgd", "--results", "whole")
    again = curves_in(cli, "whole")
    assert again.keys() == whole.keys()
    for key, curve in again.items():
        pd.testing.assert_frame_equal(curve, whole[key], check_exact=True)


ENDS = """
[probes.sharpness]
seeds = [0, 2]
[probes.line]
points = 5
[probes.surface]
resolution = 3
seeds = [1]
"""


def test_probes_of_the_ends_change_no_number_of_a_batched_trial(cli: CommandLine, benchmark_file: Path) -> None:
    text = benchmark_file.read_text(encoding="utf-8")
    words = ["--only", "optimizer=adam"]
    cli("run", "small.toml", *words, "--keep", "trajectory", "--results", "plain")
    plain = curves_in(cli, "plain")
    benchmark_file.write_text(text + ENDS, encoding="utf-8")
    report = cli.json("run", "small.toml", *words, "--results", "probed")
    assert report["failures"] == []
    probed = curves_in(cli, "probed")
    assert probed.keys() == plain.keys()
    for key, curve in probed.items():
        pd.testing.assert_frame_equal(curve, plain[key], check_exact=True)
    # measured later, on the weights that were kept, they are the same
    assert cli.json("run", "small.toml", *words, "--results", "plain", "--keep", "trajectory")["trials"]["trained"] == 0
    first, later = (
        {one.document.hash: one for one in BenchmarkResults(cli.folder / name, "small").scan()[0]}
        for name in ("probed", "plain")
    )
    for hash_, one in first.items():
        assert one.document.summary["batched"] == 4
        assert {key.split("--")[0] for key in one.document.probes} >= {"line"}
        for key, document in one.document.probes.items():
            assert document.status == "done"
            pd.testing.assert_frame_equal(one.table(key), later[hash_].table(key), check_exact=True)
    assert cli.json("run", "small.toml", *words, "--results", "probed")["trials"]["cached"] == 4
    # a probe that measures during training needs its own trial anew, which has the bits that it had
    benchmark_file.write_text(text + "\n[probes.gradient-flow]\nseeds = [0]\n", encoding="utf-8")
    assert cli.json("run", "small.toml", *words, "--results", "probed")["trials"]["trained"] == 1
    for key, curve in curves_in(cli, "probed").items():
        pd.testing.assert_frame_equal(curve, plain[key], check_exact=True)
    # a probe that looks at the optimizer makes its pair train alone
    benchmark_file.write_text(text + "\n[probes.smoothness]\nseeds = [0]\n", encoding="utf-8")
    assert cli.json("run", "small.toml", *words, "--results", "probed")["trials"]["trained"] == 4


def test_weights_are_kept_of_those_that_are_looked_at(cli: CommandLine, benchmark_file: Path) -> None:
    text = benchmark_file.read_text(encoding="utf-8") + "\n[probes.sharpness]\nseeds = [1]\n"
    benchmark_file.write_text(text, encoding="utf-8")
    cli("run", "small.toml", "--only", "optimizer=adam")
    for trial in stored(cli).values():
        assert trial.document.summary["batched"] == 4
        assert (read_weights(trial.files).final is not None) == (trial.document.trial.seed == 1)


def test_a_board_that_would_mix_both_ways_says_so(cli: CommandLine, benchmark_file: Path) -> None:
    cli("run", "small.toml", "--only", "optimizer=adam")
    cli("run", "small.toml", "--only", "optimizer=adam", "--only", "seed=0", "--no-batching")
    board = cli("leaderboard", "small.toml", "--format", "json")
    (row,) = json.loads(board.stdout)["rows"]
    assert row["seeds"] == 4
    told = " ".join(board.stderr.split())
    assert "small · adam: trials are there batched and trained alone" in told
    assert "1 of the rarer kind do not count" in told
    there = read_stored(results(cli))
    benchmark = load_benchmark(str(benchmark_file), load_registry())
    (note,) = make_view(benchmark, load_registry(), there).mixed
    assert note in told
    cli("run", "small.toml", "--only", "optimizer=adam", "--seeds", "5", "--no-batching")
    board = cli("leaderboard", "small.toml", "--format", "json", "--seeds", "5")
    (row,) = json.loads(board.stdout)["rows"]
    assert row["seeds"] == 5
    assert "4 of the rarer kind do not count" in " ".join(board.stderr.split())


FALSE = """
import torch, thalweg

class TwoRates(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, ratio=0.0):
        params = list(params)
        matrices, vectors = ([p for p in params if (p.dim() > 1) is large] for large in (True, False))
        groups = [{"params": matrices, "lr": lr}, {"params": vectors, "lr": lr * ratio}]
        super().__init__(groups, {"lr": lr, "ratio": ratio})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(TwoRates, elementwise=True)
"""


def test_a_class_that_is_not_elementwise_is_not_batched(cli: CommandLine, benchmark_file: Path) -> None:
    (benchmark_file.parent / "false.py").write_text(FALSE, encoding="utf-8")
    words = [
        "run",
        "small.toml",
        "--plugin",
        "false.py",
        "--with",
        "optimizer=tworates",
        "--only",
        "optimizer=tworates",
    ]
    cli(*words, "--keep", "weights")
    for trial in stored(cli).values():
        assert "batched" not in trial.document.summary
        weights = read_weights(trial.files)
        assert weights.initial is not None
        assert weights.final is not None
        for name, tensor in weights.initial.items():
            assert torch.equal(tensor, weights.final[name]) == name.endswith("bias")


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


def test_what_raises_in_a_stack_fails_with_a_way_out(cli: CommandLine, benchmark_file: Path) -> None:
    (benchmark_file.parent / "odd.py").write_text(PLUGIN, encoding="utf-8")
    text = benchmark_file.read_text(encoding="utf-8")
    benchmark_file.write_text(text.replace("epochs = 2", "epochs = 6"), encoding="utf-8")
    words = ["--plugin", "odd.py", "--with", "optimizer=odd", "--only", "optimizer=odd,sgd"]
    report = cli.json("run", "small.toml", *words, code=1)
    assert report["trials"] == {"total": 8, "trained": 8, "cached": 0, "diverged": 0, "failed": 4}
    assert all("not together" in failure["message"] for failure in report["failures"])
    assert all("--no-batching" in failure["message"] for failure in report["failures"])
    assert leftovers(cli) == []
    report = cli.json("run", "small.toml", *words, "--no-batching")
    assert report["trials"]["failed"] == 0


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
        patched.setattr("thalweg.training.stacked.train.train_together", interrupted)
        cli("run", "small.toml", "--only", "optimizer=sgd", "--quiet", code=130)
    reasons = {trial.document.reason.split(":")[0] for trial in stored(cli).values()}
    assert all(reason.startswith("its process was interrupted, or ended in mid-trial") for reason in reasons)
    assert len(stored(cli)) == 4
    assert cli.json("run", "small.toml", "--only", "optimizer=sgd")["trials"]["trained"] == 4


def test_groups_are_large_and_leave_no_worker_idle(registry: Registry, benchmark_file: Path) -> None:
    given = jobs(benchmark_file, registry)
    assert sizes(groups_of(given)) == [4, 4, 4]
    assert sizes(groups_of(jobs(benchmark_file, registry, 20))) == [10] * 6
    assert sizes(groups_of(given, workers=4)) == [2] * 6
    assert sizes(groups_of(given, workers=50)) == [1] * 12
    many = groups_of(jobs(benchmark_file, registry, 10), workers=3)
    titles = [job.planned.title for group in many for job in group.jobs]
    assert sorted(titles) == sorted(job.planned.title for job in jobs(benchmark_file, registry, 10))
    assert sizes(groups_of([job for job in given if job.planned.trial.seed in (1, 3)])) == [2, 2, 2]


def test_what_trains_alone_follows_from_the_file(
    registry: Registry, benchmark_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = benchmark_file.read_text(encoding="utf-8")

    def stacked(text: str) -> dict[str, int]:
        benchmark_file.write_text(text, encoding="utf-8")
        found = Counter()
        for job in jobs(benchmark_file, registry):
            found[job.planned.optimizer] += job.planned.trial.stack is not None
        return dict(found)

    assert stacked(text) == {"sgd": 4, "adam": 4, "adam-fast": 4}
    # a pair is of one kind, also where only one seed is looked at
    probed = text + '\n[probes.smoothness]\nseeds = [0]\noptimizers = ["adam"]\n'
    assert stacked(probed) == {"sgd": 4, "adam": 0, "adam-fast": 4}
    assert set(stacked(text.replace("[8]", "[512, 512]")).values()) == {0}
    assert set(stacked(text.replace("seeds = 4", "seeds = 1")).values()) == {0}
    monkeypatch.setattr(stackable, "NUMBERS", 100)
    assert set(stacked(text).values()) == {0}


def test_what_a_rule_found_is_kept_and_may_be_lost(registry: Registry, benchmark_file: Path) -> None:
    benchmark = load_benchmark(str(benchmark_file), registry)
    results_there = BenchmarkResults(benchmark_file.parent / "results", "small")
    results_there.path.mkdir(parents=True)
    first = Rule(registry, results_there)
    hashes = [planned.trial.hash for planned in benchmark.expand(registry, Selection(stacks=first)).trials]
    first.keep()
    kept = index_folder(results_there) / "stacks.json"
    assert set(json.loads(kept.read_text(encoding="utf-8")).values()) == {None}
    # another version of a plugin may answer otherwise
    count = len(json.loads(kept.read_text(encoding="utf-8")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.entry("optimizers", "adam").plugin, "version", "99")
        newer = Rule(registry, results_there)
        benchmark.expand(registry, Selection(stacks=newer))
        newer.keep()
    assert len(json.loads(kept.read_text(encoding="utf-8"))) > count
    for damage in ("{", "[1]", '{"a": 3}'):
        kept.write_text(damage, encoding="utf-8")
        again = benchmark.expand(registry, Selection(stacks=Rule(registry, results_there))).trials
        assert [planned.trial.hash for planned in again] == hashes
