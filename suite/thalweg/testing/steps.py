"""What a step of an optimizer costs against a step of another one, for pytest-benchmark."""

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
"""Blocks of each side."""
STEPS = 20
"""In each block, whatever a step takes, so that the times of one run can be compared with those of another."""
WARM_UP = 10
"""Steps of each side that are not timed."""

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
        root: what paths of plugins and benchmark files are relative to.
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
        """Time blocks of steps of both sides in alternation; gives the median ratio of the pairs.

        The benchmark's times are those of ``optimizer``'s blocks, and ``extra_info`` has the ratio with its quartiles,
        the number of steps in a block, and what was compared.

        Args:
            optimizer: the name it is registered with.
            against: the other one's.
            workload: ``BENCHMARK/WORKLOAD``, of a benchmark's name or file; a small network on digits where none is
                given.
            settings: hyperparameters of ``optimizer``; the other one has its defaults.
            plugins: plugin files to load beside what is installed.

        Raises:
            UserError: there is no such optimizer, workload or hyperparameter.
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
    """A trial of that workload with that optimizer."""
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
    """A function that makes so many steps, batches and gradients included, as training does."""
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
