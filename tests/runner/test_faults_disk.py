"""Disks that are full or read-only, and results that are removed, in the middle of a trial: real ones, on a tmpfs."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import TINY, CommandLine, leftovers, results, statuses

MISCHIEF = """
import os, shutil, subprocess
from pathlib import Path
import thalweg
from thalweg_plugins.optimizers.first_order.sgd import SGD


def fill():
    with open("results/filler", "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1000))
        except OSError:
            pass


def read_only():
    # a mount of its own over it: files that are open for writing would keep the one below from turning
    subprocess.run("mount --bind results results && mount -o remount,bind,ro results", shell=True, check=True)


def remove():
    shutil.rmtree("results/local/tiny")


def remove_all():
    shutil.rmtree("results/local")


class Mischief(SGD):
    name = "mischief"
    options = (*SGD.options, thalweg.Option("does", "fill", ("fill", "read_only", "remove", "remove_all")))

    def build(self, module, hyperparameters, context):
        h = dict(hyperparameters) | {"lr": 0.01}
        does = h.pop("does")
        stepper = super().build(module, h, context)
        step = stepper.step

        def broken(objective):
            if not Path("done").exists():
                Path("done").touch()
                globals()[does]()
            return step(objective)

        stepper.step = broken
        return stepper


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Mischief)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte under the results folder."""
    place = tmp_path / "results"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if not mounted or mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip() if mounted else 'no mount'}")
    yield place
    while place.is_mount():
        subprocess.run(["umount", "-l", str(place)], check=True)


def mischief(cli: CommandLine, does: str) -> list[str]:
    """The words of a run of two sound trials, then one in which something happens to the disk, and one after it."""
    (cli.folder / "mischief.py").write_text(MISCHIEF, encoding="utf-8")
    (cli.folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    words = ["run", "tiny.toml", "--plugin", "mischief.py", "--no-batching"]
    return [*words, "--with", f"optimizer=mischief:does={does}", "--with", "optimizer=adam:lr=0.5"]


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1000))


def test_a_disk_that_fills_up_costs_the_trials_that_find_no_room(
    process_cli: CommandLine, cli: CommandLine, disk: Path
) -> None:
    words = mischief(cli, "fill")
    report = process_cli.json(*words, code=1)
    assert report["trials"] == {"total": 4, "trained": 4, "cached": 0, "diverged": 0, "failed": 2}
    assert len(report["failures"]) == 2
    assert all("No space left on device" in failure["message"] for failure in report["failures"])
    assert statuses(cli) == {"done": 2}
    fill(disk / "filler")
    assert "results/local/tiny: cannot be written: No space left on device" in cli(*words, code=2).stderr
    (disk / "filler").unlink()
    cli("results", "verify")
    report = cli.json(*words)
    assert (report["trials"]["trained"], report["trials"]["cached"], report["trials"]["failed"]) == (2, 2, 0)
    assert leftovers(cli, "tiny") == []
    cli("results", "verify")


def test_a_disk_that_turns_read_only_keeps_what_is_done(process_cli: CommandLine, cli: CommandLine, disk: Path) -> None:
    words = mischief(cli, "read_only")
    report = process_cli.json(*words, code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (4, 2)
    assert all("Read-only file system" in failure["message"] for failure in report["failures"])
    cli("results", "verify")
    # the trial in hand is shown as what it was, and cannot be recorded so
    assert statuses(cli) == {"done": 2, "unfinished": 1}
    # with something left to train it is an error, and without there is nothing to write
    assert "results/local/tiny: cannot be written: Read-only file system" in cli(*words, code=2).stderr
    sound = words[: words.index("--with")]
    assert cli.json(*sound, "--only", "optimizer=adam,sgd")["trials"]["cached"] == 2
    subprocess.run(["umount", str(disk)], check=True)
    report = cli.json(*words)
    assert (report["trials"]["trained"], report["trials"]["cached"], report["trials"]["failed"]) == (2, 2, 0)
    assert leftovers(cli, "tiny") == []
    cli("results", "verify")


@pytest.mark.parametrize("does", ["remove", "remove_all"])
def test_results_that_are_removed_cost_what_had_ended_and_the_trial_in_hand_is_saved(
    process_cli: CommandLine, cli: CommandLine, does: str
) -> None:
    words = mischief(cli, does)
    report = (process_cli if does == "remove_all" else cli).json(*words, code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (4, 0)
    (failure,) = report["failures"]
    folder = results(cli, "tiny").path
    assert failure["message"].endswith("was removed during the run, with 2 trials that had ended: run again")
    assert "results/local/tiny was removed" in failure["message"]
    assert statuses(cli) == {"done": 2}
    assert (folder / "benchmark.toml").is_file()
    cli("results", "verify")
    report = cli.json(*words)
    assert (report["trials"]["trained"], report["trials"]["cached"]) == (2, 2)
    cli("results", "verify")
