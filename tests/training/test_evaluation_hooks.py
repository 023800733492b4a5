"""The hooks around an evaluation: when they are called, which arguments they get, and that they change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from support import CommandLine, results

PLUGIN = """
import json, random
from pathlib import Path
import numpy as np
import thalweg

LOG = Path(__file__).parent / "log.txt"

def log(*values):
    with LOG.open("a") as file:
        file.write(json.dumps(values) + "\\n")

@thalweg.hookimpl
def thalweg_evaluation_started(trial, step):
    log("started", trial.seed, step, {})

@thalweg.hookimpl
def thalweg_evaluation_finished(trial, step, metrics):
    import torch
    torch.rand(3), np.random.rand(3), random.random()  # what a hook draws must not reach the training
    log("finished", trial.seed, step, metrics)
    for values in metrics.values():
        values.clear()  # a hook has copies
"""

BENCHMARK = """
seeds = 2
[workloads.digits]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
batch_size = 64
budget = { steps = 6 }
evaluate_every = { steps = 3 }
validation_fraction = 0.2
[optimizers.sgd]
lr = 0.1
"""


def curves(cli: CommandLine) -> dict[int, pd.DataFrame]:
    return {
        trial.document.trial.seed: trial.curve().drop(columns="seconds") for trial in results(cli, "mine").scan()[0]
    }


@pytest.fixture
def mine(cli: CommandLine) -> Path:
    (cli.folder / "tell.py").write_text(PLUGIN, encoding="utf-8")
    file = cli.folder / "mine.toml"
    file.write_text(BENCHMARK, encoding="utf-8")
    return file


@pytest.mark.parametrize("batching", [["--no-batching"], []], ids=["alone", "stacked"])
def test_hooks_see_each_evaluation_and_change_no_number(cli: CommandLine, mine: Path, batching: list[str]) -> None:
    cli("run", "mine.toml", *batching)
    without = curves(cli)
    cli("run", "mine.toml", "--fresh", "--plugin", "tell.py", *batching)
    with_hooks = curves(cli)
    trials, _ = results(cli, "mine").scan()
    assert all(("batched" in trial.document.summary) == (not batching) for trial in trials)
    assert without.keys() == with_hooks.keys() == {0, 1}
    calls = [json.loads(line) for line in (cli.folder / "log.txt").read_text(encoding="utf-8").splitlines()]
    for seed, curve in with_hooks.items():
        pd.testing.assert_frame_equal(curve, without[seed], check_exact=True)
        mine_calls = [call for call in calls if call[1] == seed]
        assert [call[0] for call in mine_calls] == ["started", "finished"] * 4
        told = {
            (step, split, metric): value
            for what, _, step, metrics in mine_calls
            for split, values in metrics.items()
            for metric, value in values.items()
        }
        rows = curve[curve["split"] != "optimizer"]
        assert told == {(r.step, r.split, r.metric): r.value for r in rows.itertuples()}


def test_a_hook_that_raises_is_told_and_the_trial_is_kept(cli: CommandLine, mine: Path) -> None:
    hook = "def thalweg_evaluation_started(trial, step):\n    raise OSError('away')\n"
    (cli.folder / "bad.py").write_text(f"import thalweg\n@thalweg.hookimpl\n{hook}", encoding="utf-8")
    report = cli.json("run", "mine.toml", "--plugin", "bad.py", "--only", "seed=0", code=1)
    assert report["trials"] == {"total": 1, "trained": 1, "cached": 0, "diverged": 0, "failed": 0}
    assert [(failure["kind"], failure["message"]) for failure in report["failures"]] == [("OSError", "away")]
    assert "thalweg_evaluation_started" in report["failures"][0]["trial"]


CARELESS = """
import sys
import thalweg

@thalweg.hookimpl
def thalweg_trial_started(trial):
    trial.optimizer.options["lr"] = 50.0

@thalweg.hookimpl
def thalweg_evaluation_started(trial, step):
    import torch
    trial.optimizer.options["lr"] = 77.0
    object.__setattr__(trial, "seed", 9)
    trial.__dict__["hash"] = "0" * 12
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)

@thalweg.hookimpl
def thalweg_evaluation_finished(trial, step, metrics):
    sys.exit(3)
"""


@pytest.mark.parametrize("batching", [["--no-batching"], []], ids=["alone", "stacked"])
def test_a_careless_hook_costs_no_trial_and_changes_no_number(
    cli: CommandLine, mine: Path, batching: list[str]
) -> None:
    """Hooks that change their arguments and torch's settings, and exit."""
    cli("run", "mine.toml", *batching)
    without = curves(cli)
    (cli.folder / "careless.py").write_text(CARELESS, encoding="utf-8")
    report = cli.json("run", "mine.toml", "--fresh", "--plugin", "careless.py", *batching, code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (2, 0)
    assert {failure["kind"] for failure in report["failures"]} == {"SystemExit"}
    assert results(cli, "mine").scan()[1] == []
    with_hooks = curves(cli)
    assert without.keys() == with_hooks.keys() == {0, 1}
    for seed, curve in with_hooks.items():
        pd.testing.assert_frame_equal(curve, without[seed], check_exact=True)
