"""Optimizers that would train differently after an interruption are detected, and start again."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from torch.optim import Optimizer

from probing import ref
from support import CommandLine, results
from thalweg.contracts.budget import Budget
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.registry import Registry
from thalweg.training import continuing
from thalweg.training.continuing import cannot_continue
from thalweg.trial import Trial


class Kept(Optimizer):
    """Gradient descent with momentum, all of it in the state."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    def rate(self, lr: float) -> float:
        return lr

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                b = self.state[p].setdefault("b", torch.zeros_like(p))
                b.mul_(0.9).add_(p.grad)
                p.sub_(self.rate(group["lr"]) * b)


class CountsInAnAttribute(Kept):
    """Its rate falls with a count of steps that the state does not have, from the 1000th on."""

    calls = 0

    def rate(self, lr: float) -> float:
        self.calls = self.calls + 1
        return lr if self.calls < 1000 else lr / self.calls


class TensorsInAnAttribute(Kept):
    """Keeps its sum of squared gradients to itself, as DoWG does."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, lr)
        self.sums: dict[str, torch.Tensor] = {}

    def rate(self, lr: float) -> float:
        self.sums["all"] = self.sums.get("all", torch.ones(())) + 1
        return lr / float(self.sums["all"].sqrt())


class InAClosureOfItsOwn(Kept):
    """Counts where no attribute shows it."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, lr)
        counts = iter(range(1, 10**9))
        self.next = lambda: next(counts)

    def rate(self, lr: float) -> float:
        return float(lr / self.next())


class CannotLoad(Kept):
    """Raises an error on loading its state."""

    def load_state_dict(self, state: Any) -> None:
        raise KeyError("param_groups")


class Rounds(Kept):
    """Loads its state through a lower precision."""

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        for kept in self.state.values():
            kept["b"] = kept["b"].bfloat16().float()


class Draws(Kept):
    """Draws from torch's generator, which a checkpoint keeps."""

    def rate(self, lr: float) -> float:
        return lr * float(torch.rand(()))


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Kept, None),
        (Draws, None),
        (CountsInAnAttribute, "keeps calls outside of its state_dict"),
        (TensorsInAnAttribute, "keeps sums outside of its state_dict"),
        (InAClosureOfItsOwn, "makes other steps after its state was saved and loaded"),
        (CannotLoad, "KeyError: 'param_groups'"),
        (Rounds, "makes other steps"),
    ],
)
def test_what_a_state_leaves_out_is_found_out(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, cls: Any, reason: str | None
) -> None:
    optimizer = TorchOptimizer(cls)
    monkeypatch.setattr(registry, "optimizer", lambda *_: optimizer)
    monkeypatch.setattr(continuing, "_known", {})
    trial = Trial(
        problem=ref("digits"), architecture=ref("mlp", widths=[8]), optimizer=ref(optimizer.name),
        budget=Budget(steps=100), batch_size=32, seed=0,
    )  # fmt: skip
    found = cannot_continue(trial, registry, steps=40)
    assert (found is None) == (reason is None)
    if reason is not None:
        assert found is not None
        assert reason in found
        assert optimizer.name in found


PLUGIN = """
import os
import signal
from pathlib import Path

import torch
import thalweg
from thalweg.training import checkpoint

checkpoint.LEAST_SECONDS, checkpoint.SHARE = 0.0, float("inf")


class Forgetful(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
        self.calls = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.calls += 1
        if self.calls == 45 and not Path(os.environ["LIVES"]).exists():
            Path(os.environ["LIVES"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] / self.calls ** 0.5 * p.grad)


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Forgetful)
"""

TEXT = """
seeds = 1
[workloads.small]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { epochs = 6 }
batch_size = 128
[optimizers.forgetful]
"""


def test_a_killed_trial_that_cannot_go_on_starts_again_and_says_so(process_cli: CommandLine) -> None:
    cli = process_cli
    (cli.folder / "small.toml").write_text(TEXT, encoding="utf-8")
    (cli.folder / "forgetful.py").write_text(PLUGIN, encoding="utf-8")
    cli.environment["LIVES"] = str(cli.folder / "lives")
    run = ["run", "small.toml", "--plugin", "forgetful.py"]
    cli(*run, code=-9)
    told = cli(*run)
    assert "trained from the start: optimizer 'forgetful' keeps calls outside of its state_dict" in (
        " ".join((told.stdout + told.stderr).split())
    )
    (stored,), _ = results(cli).scan()
    assert "resumed_at" not in stored.document.summary
    assert "keeps calls" in stored.document.summary["trained_anew"]
    after = stored.curve().drop(columns="seconds")
    cli(*run, "--fresh")
    (whole,), _ = results(cli).scan()
    assert "trained_anew" not in whole.document.summary
    pd.testing.assert_frame_equal(after, whole.curve().drop(columns="seconds"), check_exact=True)
