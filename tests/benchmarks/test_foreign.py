"""A whole trial of a foreign optimizer class against the same loop by hand: order, steps and evaluations are equal."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch.nn import functional

from thalweg.contracts import Draw
from thalweg.contracts.budget import Budget
from thalweg.printed import kept, outside
from thalweg.registry import Registry, load_registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble, build_module, load_problem
from thalweg.training.contained import contained
from thalweg.training.trained import Trained
from thalweg.trial import ComponentRef, Trial
from timing import KEPT, ratios

PAIRS = 15

PLUGIN = """
import torch, thalweg

class Lions(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["average"] = torch.zeros_like(p)
                average = state["average"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                update = average.clone().mul_(group["betas"][0]).add_(p.grad, alpha=1 - group["betas"][0]).sign_()
                p.add_(update, alpha=-group["lr"])
                average.mul_(group["betas"][1]).add_(p.grad, alpha=1 - group["betas"][1])
        return loss

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Lions)
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    path = tmp_path_factory.mktemp("plugin") / "lions.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return load_registry([path])


def trial(workload: str) -> Trial:
    """The workloads of the benchmark ``optimizers``, the first with fewer epochs where nothing is kept."""
    mlp: dict[str, Any] = {"digits": {}, "mnist1d": {"widths": [128, 128]}}[workload]
    return Trial(
        problem=ComponentRef(name=workload, provider="p"),
        architecture=ComponentRef(name="mlp", provider="p", options=mlp),
        optimizer=ComponentRef(name="lions", provider="p"),
        budget=Budget(epochs=(20 if workload == "digits" else 10) if KEPT else 2),
        batch_size=32 if workload == "digits" else 64,
        validation_fraction=0.2,
        seed=0,
    )


def ours(registry: Registry, one: Trial, log: Path) -> Callable[[], Trained]:
    """Train as a worker does, but for the files at the end."""

    def run() -> Trained:
        with contained(1), kept(log):
            return Training(assemble(one, registry), [], outside(lambda *_: None)).run()

    return run


def accuracies(trained: Trained) -> tuple[float, float]:
    """The best on validation, and the test's."""
    rows = trained.curve[trained.curve["metric"] == "accuracy"]
    return float(rows[rows["split"] == "valid"]["value"].max()), float(rows[rows["split"] == "test"]["value"].iloc[-1])


def by_hand(registry: Registry, one: Trial) -> Callable[[], tuple[float, float]]:
    cls: Any = registry.optimizer("lions").cls  # type: ignore[attr-defined]
    batch, epochs = one.batch_size, one.budget.epochs
    assert isinstance(batch, int)
    assert epochs is not None

    def run() -> tuple[float, float]:
        problem, draw = load_problem(one, registry), Draw(0, batch)
        data: dict[str, tuple[torch.Tensor, torch.Tensor]] = problem.data  # type: ignore[attr-defined]
        module = build_module(one, registry, problem, draw)
        optimizer = cls(module.parameters())
        x, y = data["train"]

        @torch.no_grad()
        def evaluate(split: str) -> tuple[float, float]:
            module.eval()
            outputs, targets = module(data[split][0]), data[split][1]
            loss = functional.cross_entropy(outputs, targets).item()
            right = (outputs.argmax(1) == targets).double().mean().item()
            module.train()
            return loss, right

        best, weights = -1.0, {}
        for epoch in range(epochs + 1):
            evaluate("train")
            accuracy = evaluate("valid")[1]
            if accuracy > best:
                best, weights = accuracy, {name: value.clone() for name, value in module.state_dict().items()}
            if epoch == epochs:
                break
            order = draw.permutation(epoch, len(x))
            for start in range(0, len(x) - batch + 1, batch):
                rows = order[start : start + batch]
                optimizer.zero_grad()
                loss = functional.cross_entropy(module(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                if not abs(loss.item()) <= 1e6:  # a trial that diverges ends, here as there
                    return math.nan, math.nan
        module.load_state_dict(weights)
        return best, evaluate("test")[1]

    return run


@pytest.mark.benchmark(group="a trial of a foreign class against the loop by hand")
@pytest.mark.parametrize("workload", ["digits", "mnist1d"])
def test_a_trial_of_a_foreign_class(benchmark: Any, registry: Registry, tmp_path: Path, workload: str) -> None:
    one = trial(workload)
    first, second = ours(registry, one, tmp_path / "log.txt"), by_hand(registry, one)
    assert accuracies(first()) == pytest.approx(second(), abs=1e-12)
    found = ratios(first, second, PAIRS)
    benchmark.extra_info["ratio"] = round(median(found), 3)
    benchmark.pedantic(first, rounds=1)
