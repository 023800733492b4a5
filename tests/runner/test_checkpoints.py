"""Trials that are killed go on from their last evaluation: real processes, really killed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest

from support import CommandLine, leftovers, results, statuses
from thalweg.training import checkpoint

TEXT = """
seeds = SEEDS
[workloads.small]
problem = "digits"
architecture = { name = "mlp", widths = [8], norm = "batch" }
budget = { epochs = 6 }
batch_size = 128
validation_fraction = 0.2
[optimizers.mortal]
[probes.gradient-flow]
"""

PLUGIN = """
import itertools
import os
import signal
from pathlib import Path

import thalweg
from thalweg.training import checkpoint
from thalweg_plugins.optimizers.first_order.momentum import Momentum

checkpoint.LEAST_SECONDS, checkpoint.SHARE = 0.0, float("inf")


class Mortal(Momentum):
    name = "mortal"

    def build(self, module, hyperparameters, context):
        stepper = super().build(module, hyperparameters, context)
        return self.mortal(stepper)

    def build_stacked(self, module, members, context):
        return self.mortal(super().build_stacked(module, members, context))

    def mortal(self, stepper):
        step, steps = stepper.step, itertools.count(1)

        def until_killed(objective):
            if next(steps) == 45:
                try:
                    Path(os.environ["LIVES"]).touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            return step(objective)

        stepper.step = until_killed
        return stepper


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Mortal)
"""


def curves(cli: CommandLine) -> list[pd.DataFrame]:
    return [trial.curve().drop(columns="seconds") for trial in results(cli).scan()[0]]


@pytest.mark.parametrize("words", [(), ("--executor", "processes"), ("group",)])
def test_a_killed_trial_goes_on_to_the_same_bits(
    process_cli: CommandLine, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LEAST_SECONDS", "SHARE"):  # as they were, afterwards: the plugin changes them
        monkeypatch.setattr(checkpoint, name, getattr(checkpoint, name))
    cli, here = process_cli, CommandLine(process_cli.folder, own_process=False)
    text = TEXT.replace("SEEDS", "3" if "group" in words else "1")
    if "group" in words:
        text = text.replace("[probes.gradient-flow]", "")
    (cli.folder / "small.toml").write_text(text, encoding="utf-8")
    (cli.folder / "mortal.py").write_text(PLUGIN, encoding="utf-8")
    lives = cli.folder / "lives"
    cli.environment["LIVES"] = here.environment["LIVES"] = str(lives)
    run = ["run", "small.toml", "--plugin", "mortal.py"]
    if "--executor" in words:
        # the worker is killed, and another one goes on in the same run
        cli(*run, *words)
    else:
        cli(*run, code=-9)
        cli = here
        assert statuses(cli) == {"unfinished": 3 if "group" in words else 1}
        cli("results", "compact")
        cli(*run)
    stored, _ = results(cli).scan()
    for trial in stored:
        summary: dict[str, Any] = trial.document.summary
        # 8 steps an epoch, killed in the 45th
        assert (trial.document.status, summary["resumed_at"]) == ("done", [40])
        assert ("batched" in summary) == ("group" in words)
    assert leftovers(cli) == []
    assert not list((results(cli).path / ".partial").iterdir())
    cli = here
    cli("results", "verify")
    resumed, tables = curves(cli), [trial.table(key) for trial in stored for key in trial.document.probes]
    cli(*run, "--fresh")
    assert all("resumed_at" not in trial.document.summary for trial in results(cli).scan()[0])
    for one, other in zip(resumed, curves(cli), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    whole = [trial.table(key) for trial in results(cli).scan()[0] for key in trial.document.probes]
    for one, other in zip(tables, whole, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


PLANTED = """
import pathlib, sys, torch

class Bomb:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("marker"),)

for name in sys.argv[1:]:
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"of": "this", "state": Bomb()}, path)
    path.chmod(0o600)
"""


@pytest.mark.parametrize("batching", [True, False])
def test_a_checkpoint_from_elsewhere_runs_nothing_and_is_said(cli: CommandLine, batching: bool) -> None:
    text = TEXT.replace("SEEDS", "2").replace("[probes.gradient-flow]", "").replace("mortal", "adam")
    (cli.folder / "small.toml").write_text(text, encoding="utf-8")
    run = ("run", "small.toml", "--device", "cpu", *(() if batching else ("--no-batching",)))
    cli(*run)
    hashes = [trial.document.hash for trial in results(cli).scan()[0]]
    shutil.rmtree(results(cli).path)
    groups = [hashlib.sha256("".join(order).encode()).hexdigest()[:8] for order in (hashes, hashes[::-1])]
    names = [f"{each}--training-{group}.pt" for each in hashes for group in groups]
    names += [f"{each}--training{mark}.pt" for each in hashes for mark in ("", "--0123abcd")]
    there = results(cli).path / ".partial"
    plant = [sys.executable, "-c", PLANTED, *(str(there / name) for name in names)]
    subprocess.run(plant, cwd=cli.folder, check=True)
    error = cli(*run).stderr
    said = "is not signed with this user's key and was left alone"
    assert error.count(said) == 2, error
    assert ".partial/" in error
    assert "thalweg results compact" in error
    assert not (cli.folder / "marker").exists()
    assert sorted(path.name for path in there.iterdir()) == sorted(names)
    assert statuses(cli) == {"done": 2}
    cli("results", "compact")
    assert not list(there.iterdir())
    cli("results", "verify")


def test_what_another_users_run_has_left_is_not_gone_on_with(
    process_cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LEAST_SECONDS", "SHARE"):
        monkeypatch.setattr(checkpoint, name, getattr(checkpoint, name))
    cli = process_cli
    (cli.folder / "small.toml").write_text(TEXT.replace("SEEDS", "1"), encoding="utf-8")
    (cli.folder / "mortal.py").write_text(PLUGIN, encoding="utf-8")
    cli.environment["LIVES"] = str(cli.folder / "lives")
    cli.environment["XDG_STATE_HOME"] = str(cli.folder / "of-one")
    run = ["run", "small.toml", "--plugin", "mortal.py"]
    cli(*run, code=-9)
    (left,) = (results(cli).path / ".partial").iterdir()
    cli.environment["XDG_STATE_HOME"] = str(cli.folder / "of-another")
    error = cli(*run).stderr
    assert f".partial/{left.name} is not signed with this user's key" in error
    (trial,) = results(cli).scan()[0]
    assert "resumed_at" not in trial.document.summary
    assert left.is_file()


def test_a_run_without_a_key_says_so_once_and_keeps_no_checkpoints(process_cli: CommandLine) -> None:
    cli = process_cli
    (cli.folder / "small.toml").write_text(TEXT.replace("SEEDS", "2"), encoding="utf-8")
    (cli.folder / "mortal.py").write_text(PLUGIN, encoding="utf-8")
    (cli.folder / "file").touch()
    cli.environment |= {"LIVES": str(cli.folder / "lives"), "XDG_STATE_HOME": str(cli.folder / "file")}
    run = ["run", "small.toml", "--plugin", "mortal.py"]
    cli(*run, code=-9)
    assert not (results(cli).path / ".partial").exists()
    error = cli(*run).stderr
    assert error.count("no checkpoints are kept, and what is cut off is trained from the start: ") == 1
    assert all("resumed_at" not in trial.document.summary for trial in results(cli).scan()[0])
    # nothing to train, nothing to say
    assert "no checkpoints" not in cli(*run).stderr
