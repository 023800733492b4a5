"""The allocator's settings, each in a new process, since a process cannot undo them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.allocator import ARENAS

GLIBC = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
FAULTS = """
import resource, sys, torch
from thalweg.allocator import allocator, set_allocator
if sys.argv[1] == "set":
    set_allocator()
    set_allocator()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for megabytes in range(9, 29):
    torch.ones(megabytes, 250_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, allocator(), sep="|")
"""


def faults(settings: str, **environment: str) -> tuple[int, str]:
    """Page faults of 20 temporary tensors of 9 to 28 MB, and the recorded settings.

    Each tensor is larger than the last. So glibc's default threshold, the largest freed block, maps each tensor anew.
    """
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "LD_PRELOAD"}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, settings],
        capture_output=True, text=True, check=True, env=clean | environment, timeout=120,
    )  # fmt: skip
    count, told = done.stdout.strip().split("|")
    return int(count), told


@pytest.mark.skipif(not GLIBC, reason="it is glibc's allocator that is set")
def test_memory_is_kept_and_the_switch_turns_that_off() -> None:
    kept, told = faults("set")
    assert told.startswith("glibc")
    assert told.endswith(": mmap threshold 32 MiB, trim threshold 1024 MiB, top pad 64 MiB")
    for settings, environment in (("leave", {}), ("set", {"THALWEG_ALLOCATOR": "system"})):
        mapped, told = faults(settings, **environment)
        assert told == "system"
        assert mapped > 3 * kept  # 370 MB in all, and 28 MB at once


@pytest.mark.skipif(not GLIBC, reason="it is glibc's allocator that is set")
def test_what_the_environment_sets_up_stays() -> None:
    assert faults("set", MALLOC_TRIM_THRESHOLD_="131072")[1] == "system, with MALLOC_TRIM_THRESHOLD_"
    assert faults("set", GLIBC_TUNABLES="glibc.malloc.arena_max=4")[1] == "system, with GLIBC_TUNABLES"


def test_another_value_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from thalweg.cli import main; main()", "list", "optimizers"]
    environment = os.environ | {"THALWEG_ALLOCATOR": "sistem"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: THALWEG_ALLOCATOR = 'sistem'")
    assert "system" in done.stderr
    assert done.stderr.count("\n") == 1


THREADS = """
import ctypes, sys, threading
from thalweg.allocator import set_server_allocator
if sys.argv[1] == "set":
    set_server_allocator()
libc, all_there = ctypes.CDLL(None), threading.Barrier(7)
libc.malloc.restype = ctypes.c_void_p
def take():
    libc.malloc(1000)
    all_there.wait()
threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads:
    thread.start()
all_there.wait()
libc.malloc_stats()
"""


@pytest.mark.skipif(not GLIBC, reason="it is glibc's allocator that is set")
def test_a_server_has_few_arenas() -> None:
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "LD_PRELOAD"}

    def arenas(settings: str) -> int:
        command = [sys.executable, "-c", THREADS, settings]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean, timeout=120)
        return done.stderr.count("Arena ")

    assert arenas("set") == ARENAS < arenas("leave")
