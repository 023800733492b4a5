"""Fixtures that many tests share: the built-in registry, and the command line as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from thalweg.registry import Registry, load_registry

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def registry() -> Registry:
    loaded = load_registry()
    assert [record.error for record in loaded.plugins if record.error] == []
    return loaded


class CommandLine:
    """Runs ``thalweg`` as a process of its own in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")}

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from thalweg.cli import main; main()", *words]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def __call__(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"exit code {process.returncode}, expected {code}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


SMALL = """
seeds = 2

[workloads.small]
problem = "digits"
architecture = { name = "mlp", widths = [8], norm = "batch" }
budget = { epochs = 2 }
batch_size = 128
validation_fraction = 0.2
target = { metric = "accuracy", value = 0.5 }

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
dtype = "float64"
budget = { steps = 20 }
evaluate_every = { steps = 5 }
target = { metric = "loss", value = 1.0 }

[optimizers.sgd]
lr = 0.01

[optimizers.adam]

[probes.line]
points = 5
seeds = [0]

[probes.surface]
resolution = 3
seeds = [0]
workloads = ["small"]

[probes.gradient-flow]
seeds = [0]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A benchmark of eight trials that takes a second."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path
