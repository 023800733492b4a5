"""Checks of benchmarks, executors and claims, and the check of contracts for every component."""

from __future__ import annotations

from typing import Any

from thalweg.contracts import Component
from thalweg.expand import load_benchmark
from thalweg.registry import KINDS, Registry


def contract(registry: Registry, name: str) -> None:
    """Every component of this name keeps its contract's rules for declarations."""
    for kind in KINDS:
        for entry in registry.entries(kind):
            if entry.name == name and isinstance(entry.component, Component):
                violations = entry.component.contract_violations()
                assert not violations, f"expected a declaration that keeps the contract, and found: {violations}"


def expands(registry: Registry, name: str) -> None:
    """The benchmark's file is valid, and every name in the file is registered."""
    plan = load_benchmark(name, registry).expand(registry)
    assert plan.trials, "expected the benchmark to have trials, and it has none"
    unknown = {planned.workload for planned in plan.trials} - plan.workloads.keys()
    assert not unknown, f"expected every trial to have one of the plan's workloads, and found {sorted(unknown)}"


def does_each_job_once(registry: Registry, name: str) -> None:
    """Every job returns exactly once, with its own result, and its progress is passed on."""
    seen: list[tuple[Any, int, int]] = []
    jobs = list(range(5))
    results = list(registry.executor(name).run(_square, jobs, _lost, lambda *args: seen.append(args)))
    expected = [(job, job * job) for job in jobs]
    assert sorted(results) == expected, f"expected each job once with its result, {expected}, and found {results}"
    told = [(job, 1, 1) for job in jobs]
    assert sorted(seen) == told, f"expected the progress of each job once, {told}, and found {seen}"


def _square(job: int, progress: Any) -> int:
    progress(job, 1, 1)
    return job * job


def _lost(job: int, reason: str) -> int:
    raise AssertionError(f"job {job} was lost: {reason}")


BENCHMARK_CHECKS = (expands,)
EXECUTOR_CHECKS = (contract, does_each_job_once)
