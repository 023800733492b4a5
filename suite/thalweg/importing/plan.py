"""The plan of a benchmark whose runs were imported: the trials that are on disk."""

from __future__ import annotations

from thalweg.benchmark_file import ImportedWorkload
from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.expand import Benchmark
from thalweg.plan import Choice, PlannedTrial, Workload
from thalweg.store.stored import Stored
from thalweg.tuning.plan import TunedPlan


def imported_plan(benchmark: Benchmark, stored: Stored) -> TunedPlan:
    """The plan of all imported trials on disk, under the names that were saved with them."""
    spec = benchmark.spec.imported
    assert spec is not None
    documents = stored.by_hash
    trials: list[PlannedTrial] = []
    tuning: list[PlannedTrial] = []
    for hash_ in stored.column("hash"):
        found = documents.get(hash_)
        if found is None or found.document.workload not in spec.workloads:
            continue
        document = found.document
        tuned = document.imported is not None and document.imported.tuning
        (tuning if tuned else trials).append(PlannedTrial(document.workload, document.optimizer, document.trial))
    trials.sort(key=lambda one: (one.workload, one.optimizer, one.trial.seed))
    workloads = {name: workload_of(name, told) for name, told in spec.workloads.items()}
    choice = {
        (name, optimizer): Choice(told.linear, told.log)
        for name, workload in spec.workloads.items()
        for optimizer, told in workload.choice.items()
    }
    return TunedPlan(benchmark.name, workloads, trials, tuning, choice)


def workload_of(name: str, told: ImportedWorkload) -> Workload:
    """A workload as scoring needs it."""
    metrics = tuple(Metric(key, about.better, about.scale, about.unit) for key, about in told.metrics.items())
    metric = next(one for one in metrics if one.name == told.metric)
    target = None if told.target is None else Target(metric=metric.name, value=told.target)
    return Workload(
        name,
        metrics,
        metric=metric,
        split=told.split,
        target=target,
        target_split="valid" if told.valid else "train",
        target_metric=metric if target else None,
        axis="step",
        selects=told.selected,
        known=frozenset(("step", *told.known)),
    )
