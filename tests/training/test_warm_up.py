"""Compilation does not use a budget of seconds, on a clock that only optimizers move."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support import CommandLine, results
from thalweg.training import loop

PLUGIN = """
import torch
import thalweg
from thalweg.training import loop

class Compiled(torch.optim.Optimizer):
    compiled = False
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
    @torch.no_grad()
    def step(self, closure=None):
        loop.time.now += 1.0 if Compiled.compiled else 45.0
        Compiled.compiled = True
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Compiled)
"""

TEXT = """
seeds = 1
[workloads.small]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { seconds = 20 }
batch_size = 128
[optimizers.compiled]
"""


def test_compiling_is_no_part_of_a_budget_of_seconds(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock: Any = SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(loop, "time", clock)
    (tmp_path / "small.toml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "compiled.py").write_text(PLUGIN, encoding="utf-8")
    cli("run", "small.toml", "--plugin", "compiled.py")
    (trial,), _ = results(cli).scan()
    assert trial.document.summary["step"] == 20
    assert trial.document.summary["seconds"] == 20.0
    assert trial.document.summary["warm_up_seconds"] >= 0
