"""Compares the cost of two optimizers' steps, for pytest-benchmark."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.benchmark_file import OptimizerSpec, WorkloadSpec, parse
from thalweg.errors import UserError, unknown
from thalweg.expand import load_benchmark
from thalweg.registry import Registry, load_registry
from thalweg.trial import Trial

PAIRS = 20
"""Timed blocks of steps of each optimizer."""
STEPS = 20
"""Steps in each block. The number is fixed, so that times of different runs can be compared."""
WARM_UP = 10
"""Steps of each optimizer before the timing."""

_DEFAULT = """
[workloads.digits-mlp]
problem = "digits"
architecture = "mlp"
batch_size = 32
[optimizers.sgd]
"""


class StepBenchmark:
    """The value of the fixture ``step_benchmark``.

    Args:
        benchmark: pytest-benchmark's fixture.
        root: the folder of relative paths of plugins and benchmark files.
    """

    def __init__(self, benchmark: Any, root: Path) -> None:
        self.benchmark, self.root = benchmark, root

    def __call__(
        self,
        optimizer: str,
        against: str = "adam",
        workload: str | None = None,
        settings: Mapping[str, Any] | None = None,
        plugins: Iterable[str | Path] = (),
    ) -> float:
        """Time blocks of both optimizers' steps in alternation, and return the median ratio of the pairs of blocks.

        The benchmark's times are the times of ``optimizer``'s blocks. ``extra_info`` has the ratio with its quartiles,
        the number of steps in a block, and the names of the optimizers and the workload.

        Args:
            optimizer: the registered name of the optimizer.
            against: the registered name of the other optimizer.
            workload: ``BENCHMARK/WORKLOAD``, with a benchmark's name or file; None means a small network on digits.
            settings: hyperparameters of ``optimizer``. The other optimizer has its defaults.
            plugins: plugin files to load besides the installed plugins.

        Raises:
            UserError: an optimizer, the workload or a hyperparameter does not exist.
        """
        registry = load_registry([self.root / plugin for plugin in plugins])
        trials = [
            _trial(registry, workload, name, options, self.root)
            for name, options in ((optimizer, dict(settings or {})), (against, {}))
        ]
        ours, theirs = (_stepper(trial, registry) for trial in trials)
        ours(WARM_UP)
        theirs(WARM_UP)
        ratios: list[float] = []
        spent = 0.0

        def other() -> None:
            nonlocal spent
            started = time.perf_counter()
            theirs(STEPS)
            spent = time.perf_counter() - started

        def own() -> None:
            started = time.perf_counter()
            ours(STEPS)
            ratios.append((time.perf_counter() - started) / spent)

        self.benchmark.pedantic(own, setup=other, rounds=PAIRS)
        low, ratio, high = (float(value) for value in np.quantile(ratios, [0.25, 0.5, 0.75]))
        self.benchmark.extra_info.update(
            optimizer=optimizer,
            against=against,
            workload=workload or "digits-mlp",
            steps=STEPS,
            ratio=round(ratio, 3),
            ratio_low=round(low, 3),
            ratio_high=round(high, 3),
        )
        return ratio


def _trial(registry: Registry, workload: str | None, optimizer: str, options: dict[str, Any], root: Path) -> Trial:
    """A trial of a workload with an optimizer."""
    entry = registry.entry("optimizers", optimizer, "step_benchmark")
    name, _, key = (workload or "").rpartition("/")
    if workload is not None and not name:
        raise UserError(f"step_benchmark: workload {workload!r}: give BENCHMARK/WORKLOAD, as 'quick/digits-mlp'")
    path = os.fspath(root / name) if name.endswith(".toml") else name
    benchmark = load_benchmark(path or "quick", registry)
    spec = benchmark.spec if workload else parse(_DEFAULT, "step_benchmark")
    key = key or "digits-mlp"
    if key not in spec.workloads:
        raise UserError(f"step_benchmark: {unknown('workload', key, spec.workloads)}")
    chosen: WorkloadSpec = spec.workloads[key]
    alone = spec.model_copy(
        update={
            "workloads": {key: chosen},
            "optimizers": {optimizer: OptimizerSpec(optimizer=entry.name, **options)},
            "overrides": {},
            "probes": {},
            "tuning": None,
            "seeds": 1,
        }
    )
    return replace(benchmark, spec=alone).expand(registry).trials[0].trial


def _stepper(trial: Trial, registry: Registry) -> Callable[[int], None]:
    """A function that makes ``count`` steps as training does, with batches and gradients."""
    from thalweg.training.assembly import assemble
    from thalweg.training.precision import products_of

    it = assemble(trial, registry)
    it.module.train()
    done = 0

    def steps(count: int) -> None:
        nonlocal done
        with products_of(trial):
            for _ in range(count):
                it.objective.begin_step(it.problem.batch("train", done, it.draw), done)
                it.stepper.step(it.objective)
                done += 1

    return steps
