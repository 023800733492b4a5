"""A dask scheduler that is killed, and a runner that is killed while others' workers train: real ones."""

from __future__ import annotations

import json
import os
import signal

import pytest

from dask_cluster import cluster
from faults import tiny, wait_for_the_faulty
from support import CommandLine, leftovers, statuses

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


def test_a_killed_scheduler_is_told_and_a_killed_runner_costs_nothing(
    process_cli: CommandLine, cli: CommandLine
) -> None:
    words = tiny(cli, "slow")
    with cluster(cli.folder, workers=1) as started:
        process = process_cli.start(*words, "--executor", "dask", "--dask-scheduler", started.address, "--json")
        wait_for_the_faulty(cli, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        words += ["--with", "optimizer=faulty:fault=hang"]
        process = process_cli.start(*words, "--executor", "dask", "--dask-scheduler", started.address, "--json")
        # the worker goes on with what the killed runner had asked for; then it takes this
        wait_for_the_faulty(cli, process, "hang")
        started.scheduler.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=120)  # the trial in hand would never end
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert json.loads(out)["outcome"] == "stopped"
    failures = json.loads(out)["failures"]
    assert len(failures) == 1, failures
    failure = failures[0]
    assert failure["message"] == f"the scheduler at {started.address} is gone: run again to train the rest"
    assert failure["trial"] == "executor dask"
    cli("results", "verify")
    # each trial once, the one in hand when the runner was killed too
    assert statuses(cli) == {"done": 3, "unfinished": 1}
    report = cli.json(*tiny(cli, "slow"))
    assert (report["trials"]["trained"], report["trials"]["cached"]) == (0, 3)
    assert leftovers(cli, "tiny") == []
    cli("results", "verify")


def test_a_worker_of_our_cluster_has_a_limit_of_memory(process_cli: CommandLine, cli: CommandLine) -> None:
    words = tiny(cli, "leak")
    error = cli(*words, "--executor", "dask", "--dask-scheduler", "tcp://127.0.0.1:1", "--memory", "1", code=2).stderr
    assert "say dask worker --memory-limit" in error
    report = process_cli.json(*words, "--executor", "dask", "-j", "1", "--memory", "0.8", code=1)
    (failure,) = report["failures"]
    assert "its worker is gone: KilledWorker" in failure["message"]
    assert failure["message"].endswith("(a worker that uses more than 800 MB is ended)")
    assert statuses(cli) == {"done": 2, "failed": 1}
    assert leftovers(cli, "tiny") == []
    cli("results", "verify")
