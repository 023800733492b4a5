"""Real faults in a trial's process and on the disk, as users meet them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from faults import messages, tiny
from support import CommandLine, statuses
from thalweg import memory
from thalweg.failure import Failure


def test_a_trial_that_leaks_is_stopped_at_the_limit_and_the_run_goes_on(process_cli: CommandLine) -> None:
    cli = process_cli
    report = cli.json(*tiny(cli, "leak", "memory-error", "device", "loud"), "-j", "1", "--memory", "1", code=1)
    assert report["trials"] == {"total": 6, "trained": 6, "cached": 0, "diverged": 0, "failed": 3}
    told = messages(report)
    assert told["leak"].startswith("its worker used 1.")
    assert told["leak"].endswith(" GB, more than the limit of 1.0 GB")
    assert told["device"].startswith("CUDA out of memory. Tried to allocate 20.00 GiB (")
    assert told["memory-error"] == "MemoryError"
    assert statuses(cli) == {"done": 3, "failed": 3}
    cli("results", "verify")


def test_what_plugins_print_from_c_goes_to_the_log_of_the_trial(
    cli: CommandLine, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.json(*tiny(cli, "loud"), "--only", "optimizer=faulty:fault=loud")["trials"]["failed"] == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    (log,) = (cli.folder / "results/local").rglob("log.txt")
    text = log.read_text(encoding="utf-8")
    assert text.startswith("from C\n")
    assert len(text) <= 100_200
    assert text.splitlines()[-1].endswith("more was printed, and is not kept")


KILLER = """
import os
import thalweg

@thalweg.hookimpl
def thalweg_trial_started(trial):
    if trial.seed == 1:
        os._exit(7)
"""


def test_one_trial_that_kills_its_worker_does_not_cost_those_that_train_with_it(
    process_cli: CommandLine, cli: CommandLine, small: Path
) -> None:
    (cli.folder / "killer.py").write_text(KILLER, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "killer.py", "--only", "workload=small", "--only", "optimizer=adam"]
    report = process_cli.json(*words, "--seeds", "4", "-j", "2", code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (4, 1)
    (failure,) = report["failures"]
    assert failure["message"] == "its worker died twice, with exit code 7"
    assert "seed 1" in failure["trial"]
    assert statuses(cli) == {"done": 3, "failed": 1}
    cli("results", "verify")


def test_the_figures_of_a_device_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    error = torch.OutOfMemoryError("Tried to allocate 20.00 GiB")
    assert "no CUDA device; this process holds" in Failure.of(error).message
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 70 * 10**9)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 79 * 10**9)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    figures = "(allocated 70.0 GB, reserved 79.0 GB, free 1.0 GB, total 80.0 GB)"
    assert Failure.of(error).message == f"Tried to allocate 20.00 GiB {figures}"
    assert emptied == [1]


def test_a_containers_limit_counts_and_what_it_caches_gives_way(tmp_path: Path) -> None:
    for folder, limit, used in (("memory/a", 10**12, 0), ("memory", 5 * 10**9, 3 * 10**9), ("b/c", 4 * 10**9, 10**9)):
        version = ("limit_in_bytes", "usage_in_bytes") if folder.startswith("memory") else ("max", "current")
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"memory.{version[0]}").write_text(f"{limit}\n")
        (tmp_path / folder / f"memory.{version[1]}").write_text(f"{used}\n")
    (tmp_path / "b" / "memory.max").write_text("max\n")
    (tmp_path / "b" / "c" / "memory.stat").write_text(f"anon 1\ninactive_file {5 * 10**8}\nactive_file 2\n")
    member = tmp_path / "member"
    member.write_text("4:cpu,memory:/a/elsewhere\n1:name=systemd:/\n0::/b/c\n")
    assert sorted(memory._left_in_cgroups(tmp_path, member)) == [2 * 10**9, 3.5 * 10**9, 10**12]
    assert memory._left_in_cgroups(tmp_path, tmp_path / "none") == []
    assert memory.limit_per_worker(2) < memory.available_memory()
