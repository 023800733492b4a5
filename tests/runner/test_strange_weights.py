"""Weights that do not fit the network are refused. PyTorch would silently cut them to fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import hostile
from support import CommandLine, results
from thalweg.store.writing import digests

KEPT = """
seeds = 1
keep = "trajectory"

[workloads.bowl]
problem = { name = "quadratic", dim = 2 }
architecture = "point"
dtype = "float64"
budget = { steps = 4 }
evaluate_every = { steps = 2 }

[optimizers.sgd]
lr = 0.01
"""

Change = Callable[[dict[str, Any]], dict[str, Any]]


def _in(dtype: torch.dtype) -> Change:
    return lambda found: {name: tensor.to(dtype) for name, tensor in found.items()}


CHANGES: dict[str, tuple[str, Change, str]] = {
    "whole": ("final", _in(torch.int64), "torch.int64"),
    "single": ("final", _in(torch.float32), "torch.float32"),
    "yes or no": ("final", _in(torch.bool), "torch.bool"),
    "wide": ("trajectory", lambda t: {**t, "parameters": torch.ones(3, 9, dtype=torch.float64)}, "9 parameters"),
}


@pytest.fixture
def kept(cli: CommandLine) -> tuple[CommandLine, str, Path]:
    (cli.folder / "kept.toml").write_text(KEPT, encoding="utf-8")
    cli("run", "kept.toml", "--quiet")
    (trial,) = results(cli, "kept").scan()[0]
    return cli, trial.document.hash, trial.path


@pytest.mark.parametrize("kind", CHANGES)
def test_weights_of_another_kind_are_refused(kept: tuple[CommandLine, str, Path], kind: str) -> None:
    cli, hash_, folder = kept
    name, change, says = CHANGES[kind]
    path = folder / "weights" / f"{name}.safetensors"
    save_file(change(load_file(path)), path)
    hostile.change(folder, lambda document: document.update(files=digests(folder)))
    told = cli("probe", hash_, "trajectory", code=1)
    assert "probe 'trajectory' failed: ValueError" in told.stderr
    assert says in told.stderr


def test_a_trial_that_does_not_say_how_long_it_trained_is_refused(kept: tuple[CommandLine, str, Path]) -> None:
    cli, hash_, folder = kept
    hostile.change(folder, lambda document: document["summary"].pop("step"))
    assert "summary.step is missing" in cli("probe", hash_, "line", code=1).stderr
