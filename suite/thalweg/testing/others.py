"""Checks of benchmarks, and the check of contracts for every component."""

from __future__ import annotations

from thalweg.contracts import Component
from thalweg.expand import load_benchmark
from thalweg.registry import KINDS, Registry
from thalweg.testing.condition import condition, expect


@condition(
    finds="a declaration that breaks its contract: names, options, ranges, summary, revision",
    means="thalweg cannot name, list or hash the component, so it cannot keep the component's trials apart",
)
def contract(registry: Registry, name: str) -> None:
    """Every component of this name keeps its contract's rules for declarations."""
    for kind in KINDS:
        for entry in registry.entries(kind):
            if entry.name == name and isinstance(entry.component, Component):
                violations = entry.component.contract_violations()
                expect(not violations, "a declaration that keeps the contract", "; ".join(violations))


@condition(
    finds="a benchmark file that is not valid, or names what is not registered",
    means="the benchmark cannot be run",
)
def expands(registry: Registry, name: str) -> None:
    """The benchmark's file is valid, and every name in the file is registered."""
    plan = load_benchmark(name, registry).expand(registry)
    expect(bool(plan.trials), "a benchmark with trials", "it has none")
    unknown = {planned.workload for planned in plan.trials} - plan.workloads.keys()
    expect(not unknown, "every trial to have one of the plan's workloads", f"{sorted(unknown)}")


BENCHMARK_CHECKS = (expands,)
