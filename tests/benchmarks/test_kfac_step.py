"""The time of an iteration of K-FAC, as a ratio to an iteration of Adam, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from thalweg.contracts.budget import Budget
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial

STEPS = 20
PLAIN = {"update": "plain", "lr": 0.1, "adapt": False, "kl_clip": 0.0}


def steps(registry: Registry, optimizer: str, **options: Any) -> Callable[[], None]:
    """STEPS iterations on the autoencoder 64-48-24-8-24-48-64 of the digits, batches of 256, through the objective."""
    it = assemble(
        Trial(
            problem=ComponentRef(name="digits-autoencoder", provider="p"),
            architecture=ComponentRef(name="autoencoder", options={"widths": (48, 24, 8)}, provider="p"),
            optimizer=ComponentRef(name=optimizer, options=options, provider="p"),
            budget=Budget(epochs=1),
            batch_size=256,
            seed=0,
        ),
        registry,
    )
    done = 0

    def run() -> None:
        nonlocal done
        for _ in range(STEPS):
            it.objective.begin_step(it.problem.batch("train", done, it.draw), done)
            it.stepper.step(it.objective)
            done += 1

    return run


@pytest.mark.parametrize(
    ("options", "aim"),
    [
        pytest.param(PLAIN | {"factor_interval": 1, "inverse_interval": 10}, 2.2, id="factors every step"),
        pytest.param(PLAIN | {"factor_interval": 10, "inverse_interval": 10}, 1.4, id="factors every 10"),
        pytest.param(
            PLAIN | {"factor_interval": 10, "inverse_interval": 10, "adapt": True}, None, id="adapted damping"
        ),
        pytest.param({"inverse_interval": 10, "kl_clip": 0.0}, None, id="as in MG15"),
    ],
)
@pytest.mark.benchmark(group=f"{STEPS} iterations of K-FAC on the digits' autoencoder, inverses every 10")
def test_an_iteration_of_kfac_against_one_of_adam(
    benchmark: Any, registry: Registry, options: dict[str, Any], aim: float | None
) -> None:
    kfac, adam = steps(registry, "kfac", **options), steps(registry, "adam")
    kfac(), adam()
    ratios = []
    for _ in range(20):  # in pairs, so that a noisy neighbour hits both sides
        times = []
        for run in (kfac, adam):
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
        ratios.append(times[0] / times[1])
    benchmark.extra_info["ratio"] = round(median(ratios), 3)
    benchmark.extra_info["aim"] = aim
    benchmark.pedantic(kfac, rounds=5)
