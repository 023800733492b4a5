"""Ctrl-C and kill -9 while trials hang in a call into C: real signals, to the whole group as a terminal sends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from faults import all_gone, tiny, wait_for_the_faulty
from support import CommandLine, statuses

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


def start(cli: CommandLine, *words: str) -> subprocess.Popen[str]:
    """A run in a group of its own, its faulty trial in hand."""
    process = cli.start(*words, "--json", start_new_session=True)
    wait_for_the_faulty(cli, process)
    return process


def test_ctrl_c_ends_a_cluster_of_ours_that_hangs(process_cli: CommandLine, cli: CommandLine) -> None:
    pytest.importorskip("distributed")
    process = start(process_cli, *tiny(cli, "hang"), "--executor=dask", "-j2")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert json.loads(out)["outcome"] == "interrupted"
    assert "Traceback" not in err
    assert all_gone(process.pid)
    assert statuses(cli) == {"done": 2, "unfinished": 1}
    cli("results", "verify")


@pytest.mark.parametrize("fault", ["deaf", "wraps"])
def test_a_ctrl_c_ends_the_run_whatever_the_trial_makes_of_it(
    process_cli: CommandLine, cli: CommandLine, fault: str
) -> None:
    process = start(process_cli, *tiny(cli, fault), "-j1")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert json.loads(out)["outcome"] == "interrupted"
    assert statuses(cli) == {"done": 2, "unfinished": 1}
    cli("results", "verify")


@pytest.mark.parametrize(("fault", "how"), [("stuck", "--quiet"), ("hang", "-j2"), ("hang", "--executor=dask")])
def test_a_second_ctrl_c_ends_at_once(process_cli: CommandLine, cli: CommandLine, fault: str, how: str) -> None:
    process = start(process_cli, *tiny(cli, fault), how)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)  # the trial in hand would never end
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert all_gone(process.pid)
    assert statuses(cli) == {"done": 2, "unfinished": 1}
    cli("results", "verify")


def test_a_killed_runner_takes_workers_along_that_hang(process_cli: CommandLine, cli: CommandLine) -> None:
    process = start(process_cli, *tiny(cli, "hang"), "-j2")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert all_gone(process.pid)
    assert statuses(cli) == {"done": 2, "unfinished": 1}
    cli("results", "verify")
    report = cli.json(*tiny(cli))
    assert (report["trials"]["trained"], report["trials"]["cached"]) == (0, 2)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_a_gate_ends_what_it_trains(process_cli: CommandLine, cli: CommandLine, sent: int) -> None:
    tiny(cli)
    text = (cli.folder / "tiny.toml").read_text(encoding="utf-8") + '\n[optimizers.faulty]\nfault = "deaf"\n'
    (cli.folder / "tiny.toml").write_text(text, encoding="utf-8")
    both = ("--plugin-baseline", "faulty.py", "--plugin-candidate", "faulty.py")
    words = ("gate", "base", "new", "--benchmark", "tiny.toml", *both)
    process = process_cli.start(*words, start_new_session=True)
    trials = cli.folder / "base" / "tiny" / "trials"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(trials.glob("*"))) < 2:
        time.sleep(0.1)
    # a terminal's Ctrl-C reaches the whole group, and this one the gate alone
    process.send_signal(sent)
    process.communicate(timeout=120)
    assert process.returncode == (130 if sent == signal.SIGINT else -sent)
    assert all_gone(process.pid, 20)
