"""Processes that are killed, interrupted, out of disk, or two at once: real ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from support import FAULTY, CommandLine, leftovers, results, statuses


def trains_the_faulty_one(cli: CommandLine) -> bool:
    """Whether the process is in the middle of the faulty optimizer's trial (a trial may end between two looks)."""
    for started in results(cli).working.glob("*/started.json"):
        with contextlib.suppress(FileNotFoundError):
            if '"optimizer": "faulty' in started.read_text(encoding="utf-8"):
                return True
    return False


def test_a_killed_run_resumes_without_retraining(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = [
        "run",
        "small.toml",
        "--plugin",
        "faulty.py",
        "--with",
        "optimizer=faulty:fault=slow",
        "--only",
        "workload=small",
    ]
    process = cli.start(*words)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        finished = len(list(results(cli).trials.glob("*"))) if results(cli).trials.is_dir() else 0
        if finished >= 4 and trains_the_faulty_one(cli):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished_before = {path.name: (path / "trial.json").stat().st_mtime_ns for path in results(cli).trials.iterdir()}
    assert len(finished_before) == 4
    # the trial in hand shows as what it was
    listed = cli.json("results", "list")["trials"]
    (cut,) = [trial for trial in listed if trial["status"] == "unfinished"]
    assert cut["optimizer"] == "faulty:fault=slow"
    assert "ended in mid-trial" in cut["reason"]
    cli("results", "verify")
    report = cli.json(*words)
    assert (report["trials"]["trained"], report["trials"]["cached"], report["trials"]["failed"]) == (2, 4, 0)
    after = {path.name: (path / "trial.json").stat().st_mtime_ns for path in results(cli).trials.iterdir()}
    assert {name: after[name] for name in finished_before} == finished_before
    assert leftovers(cli) == []
    assert statuses(cli) == {"done": 6}
    cli("results", "verify")


@pytest.mark.parametrize("words", [("run", "small.toml"), ("list",), ("gate", "a", "b", "--benchmark", "small.toml")])
def test_a_plugin_that_exits_while_it_is_imported_is_no_success(
    process_cli: CommandLine, small: Path, words: tuple[str, ...]
) -> None:
    (process_cli.folder / "ends.py").write_text("import os\nos._exit(0)\n", encoding="utf-8")
    ended = process_cli(*words, "--plugin-candidate" if "gate" in words else "--plugin", "ends.py", code=1)
    assert "a component ended the process with os._exit(0)" in ended.stderr


@pytest.mark.parametrize("how", ["os._exit(0)", "sys.exit(0)"])
def test_an_optimizer_that_exits_where_its_claim_is_checked_is_no_success(
    process_cli: CommandLine, small: Path, how: str
) -> None:
    ends = f"""
import os, sys, thalweg
from thalweg_plugins.optimizers.first_order.sgd import SGD

class Ends(SGD):
    name = "ends"
    elementwise = True
    def build(self, module, hyperparameters, context):
        {how}

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Ends)
"""
    (process_cli.folder / "ends.py").write_text(ends, encoding="utf-8")
    only = ("--only", "workload=small", "--only", "optimizer=ends")
    process_cli("run", "small.toml", "--plugin", "ends.py", "--with", "optimizer=ends", *only, code=1)


def test_workers_that_exit_without_a_failure_lose_their_trial(process_cli: CommandLine, small: Path) -> None:
    (process_cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    only = ("--only", "optimizer=faulty:fault=exit-0", "--only", "workload=small", "-j2")
    words = ("run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty:fault=exit-0", *only)
    failures = process_cli.json(*words, code=1)["failures"]
    assert len(failures) == 2
    assert all("its worker died twice, with exit code 1" in failure["message"] for failure in failures)


@pytest.mark.parametrize(("fault", "status"), [("exit", 7), ("exit-0", 0)])
def test_a_process_that_exits_in_mid_trial_leaves_the_trial_unfinished(
    process_cli: CommandLine, small: Path, fault: str, status: int
) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "faulty.py", "--with", f"optimizer=faulty:fault={fault}"]
    ended = cli(*words, "--only", f"optimizer=faulty:fault={fault}", code=status or 1)
    assert f"a component ended the process with os._exit({status})" in ended.stderr
    (trial,) = cli.json("results", "list")["trials"]
    assert trial["status"] == "unfinished"


def test_ctrl_c_ends_with_130_and_keeps_what_is_done(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    process = cli.start("run", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty:fault=crawl",
                        "--json", "--only", "workload=small")  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if trains_the_faulty_one(cli):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["outcome"] == "interrupted"
    assert statuses(cli) == {"done": 4, "unfinished": 1}
    cli("results", "verify")
    words = ["leaderboard", "small.toml", "--plugin", "faulty.py", "--with", "optimizer=faulty:fault=crawl"]
    board = cli(*words, "--json")
    assert "faulty:fault=crawl" not in {row["optimizer"] for row in json.loads(board.stdout)["rows"]}
    assert "1 trial is unfinished, because its run was interrupted, and counts for nobody" in board.stderr


def test_two_runners_at_once_train_each_trial_once(process_cli: CommandLine, small: Path) -> None:
    cli = process_cli
    processes = [cli.start("run", "small.toml", "--json") for _ in range(2)]
    reports = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        reports.append(json.loads(out))
    assert statuses(cli) == {"done": 8}
    assert sum(report["trials"]["trained"] for report in reports) == 8
    cli("results", "verify")


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX's")
def test_a_full_disk_costs_the_trial_in_hand_and_is_told(process_cli: CommandLine, small: Path) -> None:
    """A limit on the size of files makes every write past 3 kB fail, as a full disk does."""
    cli = process_cli
    import resource

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    failures = cli.json("run", "small.toml", code=1, preexec_fn=limit)["failures"]
    assert failures
    assert all("File too large" in failure["message"] for failure in failures)
    report = cli.json("run", "small.toml")
    assert report["trials"]["failed"] == 0
    assert leftovers(cli) == []
    cli("results", "verify")
