"""Checks of benchmarks, executors and claims, and the one that every component shares."""

from __future__ import annotations

from typing import Any

from thalweg.benchmark import load_benchmark
from thalweg.contracts import Component
from thalweg.registry import KINDS, Registry


def contract(registry: Registry, name: str) -> None:
    """Every component of that name declares itself as its contract asks."""
    for kind in KINDS:
        for entry in registry.entries(kind):
            if entry.name == name and isinstance(entry.component, Component):
                violations = entry.component.contract_violations()
                assert not violations, violations


def expands(registry: Registry, name: str) -> None:
    """The benchmark's file is valid and every name in it is registered."""
    plan = load_benchmark(name, registry).expand(registry)
    assert plan.trials
    assert all(planned.workload in plan.workloads for planned in plan.trials)


def does_each_job_once(registry: Registry, name: str) -> None:
    """Every job comes back exactly once, with its own result, and progress is passed on."""
    seen: list[tuple[Any, int, int]] = []
    jobs = list(range(5))
    results = list(registry.executor(name).run(_square, jobs, _lost, lambda *args: seen.append(args)))
    assert sorted(results) == [(job, job * job) for job in jobs]
    assert sorted(seen) == [(job, 1, 1) for job in jobs]


def _square(job: int, progress: Any) -> int:
    progress(job, 1, 1)
    return job * job


def _lost(job: int, reason: str) -> int:
    raise AssertionError(f"job {job} was lost: {reason}")


BENCHMARK_CHECKS = (expands,)
EXECUTOR_CHECKS = (contract, does_each_job_once)
