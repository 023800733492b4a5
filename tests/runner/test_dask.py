"""Trials on a dask cluster: real schedulers and workers, some of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from dask_cluster import cluster
from faults import tiny
from support import FAULTY, CommandLine, leftovers, results, statuses
from thalweg.runner.dask import Dask
from thalweg.runner.dask_random import leave_random_alone
from thalweg.store.results import BenchmarkResults

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


def curves(cli: CommandLine) -> dict[str, pd.DataFrame]:
    return {
        path.parent.name: pd.read_parquet(path).drop(columns=["seconds"])
        for path in results(cli).trials.glob("*/curve.parquet")
    }


def test_two_separate_workers_give_the_results_of_the_serial_executor(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    cli("run", "small.toml")
    expected = curves(cli)
    with cluster(cli.folder) as started:
        report = cli.json("run", "small.toml", "--fresh", "--executor", "dask", "--dask-scheduler", started.address)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (8, 0)
    found = curves(cli)
    assert found.keys() == expected.keys()
    for name, curve in expected.items():
        pd.testing.assert_frame_equal(found[name], curve, check_exact=True)
    assert leftovers(cli) == []
    cli("results", "verify")


NOISY = """
import random, time, numpy, torch
from thalweg import hookimpl

class Noisy(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad += 0.1 * torch.randn_like(p) * random.random() * numpy.random.rand()
        time.sleep(0.01)  # time for other threads
        super().step()

@hookimpl
def thalweg_register_optimizers(register):
    register(Noisy, lr=0.01)
"""


def test_a_worker_of_several_threads_trains_one_trial_at_a_time(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "noisy.py").write_text(NOISY, encoding="utf-8")
    words = ["--plugin", "noisy.py", "--with", "optimizer=noisy", "--only", "optimizer=noisy", "--no-batching"]
    cli("run", "small.toml", *words)
    expected = curves(cli)
    assert len(expected) == 4
    with cluster(cli.folder, workers=1, threads=2) as started:
        cli("run", "small.toml", *words, "--fresh", "--executor", "dask", "--dask-scheduler", started.address)
    for name, curve in curves(cli).items():
        pd.testing.assert_frame_equal(curve, expected[name], check_exact=True)


def test_a_killed_worker_costs_nothing(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = ["--plugin", "faulty.py", "--with", "optimizer=faulty:fault=slow", "--only", "workload=small", "--json"]
    with cluster(cli.folder) as started:
        process = cli.start(
            "run", "small.toml", *words, "--executor", "dask", "--dask-scheduler", started.address, "--json"
        )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not list(results(cli).working.glob("*/started.json")):
            time.sleep(0.02)
        time.sleep(0.5)
        started.workers[0].send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["outcome"], report["trials"]["failed"]) == ("complete", 0)
    assert statuses(cli) == {"done": report["trials"]["total"]}
    cli("results", "verify")


def test_a_cluster_of_its_own_trains_and_trials_that_kill_workers_are_lost(
    process_cli: CommandLine, small: Path
) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = ["--plugin", "faulty.py", "--with", "optimizer=faulty:fault=exit", "--only", "workload=small"]
    report = cli.json("run", "small.toml", *words, "--executor", "dask", "-j", "2", code=1)
    assert len(report["failures"]) == 2
    assert all("its worker is gone: KilledWorker" in failure["message"] for failure in report["failures"])
    assert statuses(cli) == {"done": 4, "failed": 2}
    assert leftovers(cli) == []
    cli("results", "verify")


def test_workers_that_do_not_see_the_results_send_them_back_and_steps_are_told(
    process_cli: CommandLine, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tiny(cli, "memory-error")
    place = cli.folder / "results"
    place.mkdir()
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"no folder can be hidden from a process here: {tried.stderr.strip()}")
    cli(*words, "--results", "elsewhere", "--keep", "weights", code=1)
    with cluster(cli.folder, hidden=place) as started:
        how = ["--executor", "dask", "--dask-scheduler", started.address, "--keep", "weights"]
        report = process_cli.json(*words, *how, code=1)
        assert (report["trials"]["trained"], report["trials"]["failed"]) == (3, 1)
        assert statuses(cli) == {"done": 2, "failed": 1}
        # again: nothing is lost, and nothing that failed replaces anything
        assert cli.json(*words, *how, code=1)["trials"]["cached"] == 2
        assert cli.json(*words, *how, "--fresh", code=1)["trials"]["trained"] == 3

        def work(job: int, progress: Callable[[int, int, int], None]) -> int:
            for step in range(4):
                progress(job, step, 4)
                time.sleep(0.6)
            return 10 * job

        told: list[tuple[int, int, int]] = []
        monkeypatch.setenv("THALWEG_DASK_SCHEDULER", started.address)
        found = dict(Dask().run(work, [1, 2], lambda job, reason: -1, lambda *counts: told.append(counts)))
    assert found == {1: 10, 2: 20}
    assert {(1, 0, 4), (1, 2, 4), (2, 0, 4), (2, 2, 4)} <= set(told)
    trials, _ = BenchmarkResults(cli.folder / "elsewhere", "tiny").scan()
    for trial in trials:
        there = results(cli, "tiny").find(trial.document.hash)
        assert there is not None
        mine, theirs = (one.curve().drop(columns="seconds") for one in (trial, there))
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
        files = {name for name in trial.document.files if name.startswith("weights/")}
        assert files == {name for name in there.document.files if name.startswith("weights/")}
        assert {trial.document.files[name] for name in files} == {there.document.files[name] for name in files}
    assert leftovers(cli, "tiny") == []
    cli("results", "verify")


def test_what_is_not_there_is_told(cli: CommandLine, small: Path) -> None:
    words = ["run", "small.toml", "--dask-scheduler", "tcp://127.0.0.1:1"]
    assert "executor 'serial' connects to no scheduler: use 'dask'" in cli(*words, code=2).stderr
    error = cli(*words, "--executor", "dask", code=2).stderr
    assert "--dask-scheduler tcp://127.0.0.1:1: no scheduler answers there" in error


def test_dask_draws_from_a_generator_of_its_own_while_a_trial_trains() -> None:
    import random

    import distributed.comm.core
    import distributed.protocol.compression
    from dask.sizeof import sizeof

    leave_random_alone()
    before = random.getstate()
    sizeof(list(range(100)))
    distributed.comm.core.random.uniform(0, 1)
    distributed.protocol.compression.randint(0, 9)
    assert random.getstate() == before
    assert distributed.comm.core.random.Random is random.Random
    random.random()
    assert random.getstate() != before
