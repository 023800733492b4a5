"""Times of training steps with first-order optimizers, as ratios to steps with torch.optim by hand, in one run.

A method of torch is compared with itself. A rule of thalweg is compared with torch's most similar method.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch
from torch import nn

from thalweg.contracts.budget import Budget
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial

STEPS = 33
Make = Callable[[nn.Module], list[torch.optim.Optimizer]]


def one(cls: type[torch.optim.Optimizer], **given: Any) -> Make:
    return lambda module: [cls(module.parameters(), **given)]  # type: ignore[call-arg]


def muon_by_hand(module: nn.Module) -> list[torch.optim.Optimizer]:
    hidden = module[3].weight  # type: ignore[index]
    others = [p for p in module.parameters() if p is not hidden]
    return [
        torch.optim.Muon([hidden], lr=0.02, weight_decay=0.0),
        torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


TORCHS: dict[str, Make] = {
    "sgd": one(torch.optim.SGD, lr=0.1, fused=True),
    "momentum": one(torch.optim.SGD, lr=0.05, momentum=0.9, fused=True),
    "nesterov": one(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, fused=True),
    "adagrad": one(torch.optim.Adagrad, fused=True),
    "rmsprop": one(torch.optim.RMSprop, lr=1e-3),
    "adam": one(torch.optim.Adam, fused=True),
    "amsgrad": one(torch.optim.Adam, amsgrad=True, fused=True),
    "adamw": one(torch.optim.AdamW, fused=True),
    "nadam": one(torch.optim.NAdam),
    "muon": muon_by_hand,
}
OURS: dict[str, str] = {
    "adagrad-lecture": "adagrad",
    "rmsprop-lecture": "rmsprop",
    "adam-lecture": "adam",
    "adam-rkk18": "adam",
    "amsgrad-rkk18": "amsgrad",
    "lion": "momentum",
    "schedule-free-adamw": "adamw",
    "shampoo": "muon",
    "soap": "muon",
}


def trial(optimizer: str) -> Trial:
    return Trial(
        problem=ComponentRef(name="digits", provider="p"),
        architecture=ComponentRef(name="mlp", provider="p"),
        optimizer=ComponentRef(name=optimizer, provider="p"),
        budget=Budget(epochs=1),
        batch_size=32,
        seed=0,
    )


def through_the_plugin(registry: Registry, name: str) -> Callable[[], None]:
    it = assemble(trial(name), registry)

    def epoch() -> None:
        for step in range(STEPS):
            it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
            it.stepper.step(it.objective)

    return epoch


def by_hand(registry: Registry, make: Make) -> Callable[[], None]:
    it = assemble(trial("sgd"), registry)
    x, y = it.problem.data["train"]  # type: ignore[attr-defined]
    optimizers = make(it.module)

    def epoch() -> None:
        order = torch.randperm(len(x))
        for step in range(STEPS):
            rows = order[step * 32 : (step + 1) * 32]
            for optimizer in optimizers:
                optimizer.zero_grad()
            torch.nn.functional.cross_entropy(it.module(x[rows]), y[rows]).backward()
            for optimizer in optimizers:
                optimizer.step()

    return epoch


def ratio(first: Callable[[], None], second: Callable[[], None], pairs: int) -> float:
    """The median of first / second over alternating pairs, so that other load slows down both."""
    first()
    second()
    gc.disable()
    ratios = []
    for index in range(pairs):
        times = {}
        for run in (first, second) if index % 2 else (second, first):
            started = time.process_time()
            run()
            times[run] = time.process_time() - started
        ratios.append(times[first] / times[second])
    gc.enable()
    return round(median(ratios), 3)


@pytest.mark.benchmark(group="an epoch of 33 steps on digits-mlp, torch's methods against themselves by hand")
@pytest.mark.parametrize("name", TORCHS)
def test_a_step_of_torchs_method_against_the_same_by_hand(benchmark: Any, registry: Registry, name: str) -> None:
    ours = through_the_plugin(registry, name)
    benchmark.extra_info["ratio"] = ratio(ours, by_hand(registry, TORCHS[name]), pairs=16)
    benchmark.pedantic(ours, rounds=3)


@pytest.mark.benchmark(group="an epoch of 33 steps on digits-mlp, own rules against torch's nearest method by hand")
@pytest.mark.parametrize("name", OURS)
def test_a_step_of_an_own_rule_against_torchs_nearest_method(benchmark: Any, registry: Registry, name: str) -> None:
    ours = through_the_plugin(registry, name)
    benchmark.extra_info["against"] = OURS[name]
    benchmark.extra_info["ratio"] = ratio(ours, by_hand(registry, TORCHS[OURS[name]]), pairs=8)
    benchmark.pedantic(ours, rounds=3)
