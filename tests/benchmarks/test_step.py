"""The time of a training step through thalweg, as a ratio to the step by hand, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch

from thalweg.contracts.budget import Budget
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial

STEPS = 33


def trial() -> Trial:
    return Trial(
        problem=ComponentRef(name="digits", provider="p"),
        architecture=ComponentRef(name="mlp", provider="p"),
        optimizer=ComponentRef(name="adam", provider="p"),
        budget=Budget(epochs=1),
        batch_size=32,
        seed=0,
    )


def ours(registry: Registry) -> Callable[[], None]:
    it = assemble(trial(), registry)

    def epoch() -> None:
        for step in range(STEPS):
            it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
            it.stepper.step(it.objective)

    return epoch


def by_hand(registry: Registry) -> Callable[[], None]:
    it = assemble(trial(), registry)
    x, y = it.problem.data["train"]  # type: ignore[attr-defined]
    optimizer = torch.optim.Adam(it.module.parameters(), fused=True)

    def epoch() -> None:
        order = torch.randperm(len(x))
        for step in range(STEPS):
            rows = order[step * 32 : (step + 1) * 32]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(it.module(x[rows]), y[rows]).backward()
            optimizer.step()

    return epoch


@pytest.mark.benchmark(group="an epoch of 33 steps of adam on digits-mlp")
def test_a_step_through_the_objective_against_one_by_hand(benchmark: Any, registry: Registry) -> None:
    first, second = ours(registry), by_hand(registry)
    ratios = []
    for _ in range(30):  # in pairs, so that a noisy neighbour hits both sides
        times = []
        for run in (first, second):
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
        ratios.append(times[0] / times[1])
    benchmark.extra_info["ratio"] = round(median(ratios), 3)
    benchmark.pedantic(first, rounds=20, warmup_rounds=2)
