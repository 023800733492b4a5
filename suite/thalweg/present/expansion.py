"""The plan that fits results on disk best, and as much of a plan as the plugins here can expand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from thalweg.errors import UserError
from thalweg.expand import Benchmark
from thalweg.importing.plan import imported_plan
from thalweg.limits import TooMuch
from thalweg.plan import PlannedTrial
from thalweg.registry import Registry
from thalweg.scoring.locate import locate
from thalweg.selection import Selection
from thalweg.stacking import OnDisk
from thalweg.store.stored import Stored
from thalweg.tuning.plan import TunedPlan, plan_of


@dataclass(frozen=True)
class Expansion:
    """A benchmark's plan for results on disk."""

    plan: TunedPlan
    way: OnDisk
    """Which trials count: those trained in stacks, or those trained alone."""
    reasons: list[str] = field(default_factory=list)
    """Why parts of the benchmark could not be expanded."""


Expand = Callable[[Benchmark, Registry, Selection, Stored], tuple[TunedPlan, list[str]]]
"""Gives the plan of a benchmark, and the reasons why parts of the benchmark could not be expanded."""


def whole(
    benchmark: Benchmark, registry: Registry, selection: Selection, stored: Stored
) -> tuple[TunedPlan, list[str]]:
    """The whole plan; UserError where a part cannot be expanded."""
    return plan_of(benchmark, registry, selection, stored), []


def as_far_as_possible(
    benchmark: Benchmark, registry: Registry, selection: Selection, stored: Stored
) -> tuple[TunedPlan, list[str]]:
    """The whole plan; else every pair of workload and optimizer that can be expanded, and reasons for the others."""
    try:
        return whole(benchmark, registry, selection, stored)
    except TooMuch as error:
        # a single pair may be too much as well
        return TunedPlan(benchmark.name, {}, []), [str(error)]
    except UserError as error:
        reasons = [str(error)]
    trials: list[PlannedTrial] = []
    plan = TunedPlan(benchmark.name, {}, trials)
    spec = benchmark.spec
    for workload in spec.workloads:
        for optimizer in spec.optimizers:
            # without probes, which do not change a trial: the plugin that is not here may be a probe's
            part = spec.model_copy(
                update={
                    "workloads": {workload: spec.workloads[workload]},
                    "optimizers": {optimizer: spec.optimizers[optimizer]},
                    "probes": {},
                }
            )
            try:
                expanded = plan_of(replace(benchmark, spec=part), registry, selection, stored)
            except UserError as error:
                reasons.append(str(error))
            else:
                plan.workloads |= expanded.workloads
                trials += expanded.trials
                plan.tuning += expanded.tuning
                plan.outcomes += expanded.outcomes
    return plan, list(dict.fromkeys(reasons))


def best_expansion(
    benchmark: Benchmark,
    registry: Registry,
    stored: Stored,
    selection: Selection | None = None,
    expand: Expand = whole,
) -> Expansion:
    """Expand the benchmark for each kind of device that results come from; return the plan with most trials on disk.

    So results of a GPU can be ranked on a machine without one.
    """
    if benchmark.spec.imported is not None:
        return Expansion(imported_plan(benchmark, stored), OnDisk([], {}))
    found = []
    for device in stored.devices:
        way = stored.way()
        chosen = replace(selection or Selection(), device=device, stacks=way)
        plan, reasons = expand(benchmark, registry, chosen, stored)
        found.append(Expansion(plan, way, reasons))
    if len(found) == 1:
        return found[0]
    return max(found, key=lambda one: int((locate(one.plan.trials, stored).numbers >= 0).sum()))
