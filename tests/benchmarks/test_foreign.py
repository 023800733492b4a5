"""A whole trial of a foreign optimizer class against the same loop by hand: order, steps and evaluations are equal."""

from __future__ import annotations

import math
import time
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
from thalweg.trial import ComponentRef, Trial

EPOCHS, BATCH = 20, 32

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


def trial() -> Trial:
    return Trial(
        problem=ComponentRef(name="digits", provider="p"),
        architecture=ComponentRef(name="mlp", provider="p"),
        optimizer=ComponentRef(name="lions", provider="p"),
        budget=Budget(epochs=EPOCHS),
        batch_size=BATCH,
        validation_fraction=0.2,
        seed=0,
    )


def ours(registry: Registry, log: Path) -> Callable[[], tuple[float, float]]:
    """Train as a worker does, but for the files at the end; gives validation and test accuracy."""

    def run() -> tuple[float, float]:
        with contained(1), kept(log):
            trained = Training(assemble(trial(), registry), [], outside(lambda *_: None)).run()
        rows = trained.curve[trained.curve["metric"] == "accuracy"]
        return float(rows[rows["split"] == "valid"]["value"].max()), float(
            rows[rows["split"] == "test"]["value"].iloc[-1]
        )

    return run


def by_hand(registry: Registry) -> Callable[[], tuple[float, float]]:
    cls: Any = registry.optimizer("lions").cls  # type: ignore[attr-defined]

    def run() -> tuple[float, float]:
        problem, draw = load_problem(trial(), registry), Draw(0, BATCH)
        data: dict[str, tuple[torch.Tensor, torch.Tensor]] = problem.data  # type: ignore[attr-defined]
        module = build_module(trial(), registry, problem, draw)
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
        for epoch in range(EPOCHS + 1):
            evaluate("train")
            accuracy = evaluate("valid")[1]
            if accuracy > best:
                best, weights = accuracy, {name: value.clone() for name, value in module.state_dict().items()}
            if epoch == EPOCHS:
                break
            order = draw.permutation(epoch, len(x))
            for start in range(0, len(x) - BATCH + 1, BATCH):
                rows = order[start : start + BATCH]
                optimizer.zero_grad()
                loss = functional.cross_entropy(module(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                if not abs(loss.item()) <= 1e6:  # a trial that diverges ends, here as there
                    return math.nan, math.nan
        module.load_state_dict(weights)
        return best, evaluate("test")[1]

    return run


@pytest.mark.benchmark(group="a trial of a foreign class on digits-mlp")
def test_a_trial_of_a_foreign_class_against_the_loop_by_hand(
    benchmark: Any, registry: Registry, tmp_path: Path
) -> None:
    first, second = ours(registry, tmp_path / "log.txt"), by_hand(registry)
    assert first() == pytest.approx(second(), abs=1e-12)
    ratios = []
    for number in range(11):  # in pairs that take turns, so that a noisy neighbour hits both sides
        times = {}
        for run in (first, second) if number % 2 else (second, first):
            started = time.process_time()
            run()
            times[run] = time.process_time() - started
        ratios.append(times[first] / times[second])
    benchmark.extra_info["ratio"] = round(median(ratios), 3)
    benchmark.pedantic(first, rounds=3)
