"""Trials that are killed go on from their last evaluation: real processes, really killed."""

from __future__ import annotations

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
from thalweg_plugins.optimizers.momentum import Momentum

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
        assert statuses(cli) == {"failed": 3 if "group" in words else 1}
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
