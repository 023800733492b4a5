"""The time of the guard of the data, as a share of a training step and of a surface's point."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from probing import ref
from thalweg.contracts.budget import Budget
from thalweg.contracts.supervised import Supervised
from thalweg.contracts.untouched import versions_of
from thalweg.landscape import Plane, losses_at
from thalweg.landscape.points import flat
from thalweg.registry import Registry
from thalweg.training.assembly import Assembly, assemble
from thalweg.trial import Trial

MANY, ROUNDS = 2000, 7


def seconds(run: Callable[[], object], times: int) -> float:
    """The seconds of one call, as the median of several rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(times):
            run()
        found.append((time.process_time() - started) / times)
    return median(found)


@pytest.fixture
def it(registry: Registry) -> Assembly:
    """The built-in MLP on digits, batches of 32: a small step, of which a fixed cost is a large share."""
    trial = Trial(
        problem=ref("digits"), architecture=ref("mlp"), optimizer=ref("sgd"), budget=Budget(epochs=1), batch_size=32,
        seed=0,
    )  # fmt: skip
    return assemble(trial, registry)


@pytest.mark.benchmark(group="the guard of the data")
def test_the_guards_share_of_a_step(benchmark: Any, it: Assembly) -> None:
    batch = it.problem.batch("train", 0, it.draw)

    def step() -> None:
        it.objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
        it.stepper.step(it.objective)

    def guard() -> None:
        # what a step does for it: versions are noted once, and looked at after the evaluation and after the step
        versions_of((batch.inputs, batch.targets))
        it.objective.check_batch()
        it.objective.check_batch()

    step()
    benchmark.extra_info["ratio"] = round(seconds(guard, MANY) / seconds(step, MANY // 20), 5)
    benchmark.pedantic(guard, rounds=1)


@pytest.mark.benchmark(group="the guard of the data")
def test_the_guards_share_of_a_surfaces_point(benchmark: Any, it: Assembly) -> None:
    assert isinstance(it.problem, Supervised)
    data = it.problem.reduced("train", 128)
    center = flat(it.module)
    ticks = [x / 12 - 1 for x in range(25)]
    plane = Plane(center, center.roll(1), center.roll(2), ticks, ticks)

    def guard() -> None:
        # what a call does for it: versions are noted and looked at, and the first two examples are copied
        versions = versions_of(vars(data).values())
        assert not any(tensor._version != version for tensor, version in versions)
        data.data["train"][0][:2].clone()

    points = seconds(lambda: losses_at(it.module, data, plane, metrics=["loss"]), 1) / len(ticks) ** 2
    benchmark.extra_info["ratio"] = round(seconds(guard, MANY) / len(ticks) ** 2 / points, 5)
    benchmark.pedantic(guard, rounds=1)
