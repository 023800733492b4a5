"""Trials in worker processes: real ones, killed, hanging and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from support import FAULTY, CommandLine, leftovers, results, statuses

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


def faulty(cli: CommandLine, fault: str, *words: str) -> list[str]:
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    asked = ["run", "small.toml", "--plugin", "faulty.py", "--with", f"optimizer=faulty:fault={fault}"]
    return [*asked, "--only", "workload=small", "--only", "seed=0", *words]


def workers_of(runner: int) -> list[int]:
    """Its grandchildren: the server of forks is the runner's child, and the workers are the server's."""
    children = psutil.Process(runner).children(recursive=True)
    return [child.pid for child in children if child.ppid() != runner]


def test_results_are_those_of_the_serial_executor_bitwise(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    report = cli.json("run", "small.toml", "-j", "2")
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (8, 0)
    assert leftovers(cli) == []
    cli("results", "verify")
    curves = {path.parent.name: pd.read_parquet(path) for path in results(cli).trials.glob("*/curve.parquet")}
    environments = [json.loads(path.read_text())["environment"] for path in results(cli).trials.glob("*/trial.json")]
    assert {environment["threads"] for environment in environments} == {1}
    assert all(environment["allocator"] != "" for environment in environments)
    assert cli.json("run", "small.toml", "-j", "2")["trials"]["cached"] == 8
    assert cli.json("run", "small.toml", "--fresh")["trials"]["trained"] == 8
    for name, curve in curves.items():
        again = pd.read_parquet(results(cli).trials / name / "curve.parquet")
        drop = ["seconds"]
        pd.testing.assert_frame_equal(curve.drop(columns=drop), again.drop(columns=drop), check_exact=True)


def test_a_worker_that_dies_is_replaced_and_its_trial_tried_once_more(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    report = cli.json(*faulty(cli, "once", "-j", "2"))
    assert report["trials"]["failed"] == 0
    assert (cli.folder / "died").exists()
    assert statuses(cli) == {"done": report["trials"]["trained"]}
    assert leftovers(cli) == []
    cli("results", "verify")


def test_a_trial_that_kills_each_worker_fails_with_the_reason(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    report = cli.json(*faulty(cli, "exit", "-j", "2"), code=1)
    (failure,) = report["failures"]
    assert "its worker died twice, with exit code 7" in failure["message"]
    trials = cli.json("results", "list")["trials"]
    assert [trial["reason"] for trial in trials if trial["status"] == "failed"] == [f"Lost: {failure['message']}"]
    assert sum(trial["status"] == "done" for trial in trials) == report["trials"]["total"] - 1
    assert leftovers(cli) == []
    cli("results", "verify")


def test_a_trial_that_hangs_in_a_c_call_is_stopped_at_the_timeout(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    # on a loaded machine others may be late too, and say the same
    report = cli.json(*faulty(cli, "hang", "--timeout", "5"), code=1)
    late = {failure["trial"]: failure["message"] for failure in report["failures"]}
    assert any("fault=hang" in trial for trial in late), late
    assert set(late.values()) == {"it took longer than the timeout of 5 s"}
    assert leftovers(cli) == []
    cli("results", "verify")


def test_ctrl_c_ends_all_workers_and_keeps_what_is_done(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    process = cli.start(*faulty(cli, "crawl", "-j", "2", "--json"))
    workers = wait_for_the_faulty(cli, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["outcome"] == "interrupted"
    assert gone(workers)
    assert statuses(cli)["unfinished"] == 1
    assert leftovers(cli) == []
    cli("results", "verify")


def test_bad_words_are_refused(cli: CommandLine, small: Path) -> None:
    assert "-j: 'two' is no number of workers" in cli("run", "small.toml", "-j", "two", code=2).stderr
    assert "-j: '0' is no number of workers" in cli("run", "small.toml", "-j", "0", code=2).stderr
    error = cli("run", "small.toml", "--timeout", "5", "--executor", "serial", code=2).stderr
    assert "executor 'serial' cannot stop a trial from outside: use 'processes'" in error


def wait_for_the_faulty(cli: CommandLine, process: subprocess.Popen[str]) -> list[int]:
    """Until the faulty trial trains and the others are done; its workers."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        at_work = [path.parent.name for path in results(cli).working.glob("*/started.json")]
        if len(at_work) == 1 and len(list(results(cli).trials.glob("*"))) >= 2:
            workers = workers_of(process.pid)
            assert workers
            return workers
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the trial never began")


def gone(pids: list[int]) -> bool:
    """Whether all of them end soon."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False
