"""The problems' targets follow from the baselines by the rule of docs/benchmarks.md."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median_high, median_low

import pytest

from thalweg.contracts import LoadContext, Metric
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.option import resolve
from thalweg.expand import load_benchmark
from thalweg.registry import Registry, load_registry
from thalweg.scoring.observations import observe
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.verify import verify

REFERENCE = Path(__file__).parents[1] / "results" / "reference"
SOLVED = 1e-6
"""A function whose minimum is known counts as solved this close to it: below are rounding errors."""

WORKLOADS = load_benchmark("baselines", load_registry()).spec.workloads


def rounded(value: float, metric: Metric) -> float:
    """A value rounded to three digits, towards the side that is easier to reach."""
    scale = 10 ** (2 - math.floor(math.log10(abs(value))))
    steps = value * scale
    nearest = math.floor(steps + 1e-9) if metric.better == "higher" else math.ceil(steps - 1e-9)
    return float(f"{nearest / scale:.3g}")


def known_minimum(registry: Registry, name: str) -> float | None:
    import torch

    problem = registry.problem(name)
    if problem.splits != ("train",):
        return None
    loaded = problem.load(resolve(problem.options, {}, name), LoadContext(torch.device("cpu"), torch.float64))
    return loaded.minimum if isinstance(loaded, AnalyticFunction) else None


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_target_is_what_half_of_twenty_seeds_of_the_baseline_reached(registry: Registry, workload: str) -> None:
    benchmark = load_benchmark("baselines", registry)
    stored = read_stored(BenchmarkResults(REFERENCE, "baselines"))
    seen = observe(benchmark.expand(registry), stored)
    assert (seen.missing, seen.beside) == (0, 0)
    problem = registry.problem(benchmark.spec.workloads[workload].problem.name)
    assert not benchmark.spec.workloads[workload].problem.options, "baselines run problems at their defaults"
    metric = problem.metrics[0]
    split = "valid" if "valid" in problem.splits else "train"
    curves = seen.curves[seen.curves["workload"] == workload]
    rows = curves[(curves["split"] == split) & (curves["metric"] == metric.name)]
    values = rows.groupby("seed")["value"]
    best = (values.max() if metric.better == "higher" else values.min()).tolist()
    assert len(best) == 20
    reached = median_low(best) if metric.better == "higher" else median_high(best)
    minimum = known_minimum(registry, problem.name)
    if minimum is not None:
        reached = max(reached, minimum + SOLVED)
    assert problem.target is not None
    assert problem.target.metric == metric.name
    assert problem.target.value == pytest.approx(rounded(reached, metric), rel=1e-12)
    assert problem.target_source


def test_problems_without_a_target_are_those_whose_data_was_not_at_hand(registry: Registry) -> None:
    without = {entry.name for entry in registry.entries("problems") if registry.problem(entry.name).target is None}
    users = {"arrays", "arrays-regression"}
    assert without == users | {"mnist", "mnist-autoencoder", "kmnist", "cifar10", "cifar100"}
    assert {spec.problem.name for spec in WORKLOADS.values()} == {
        entry.name for entry in registry.entries("problems")
    } - without


def test_the_reference_baselines_are_whole() -> None:
    whole, faults = verify(BenchmarkResults(REFERENCE, "baselines"))
    assert (whole, faults) == (20 * len(WORKLOADS), [])


@pytest.mark.parametrize(
    ("value", "better", "expected"),
    [(0.98765, "higher", 0.987), (0.98765, "lower", 0.988), (12.341, "lower", 12.4), (0.5, "higher", 0.5),
     (1e-6, "lower", 1e-6), (-78.3323, "lower", -78.3), (0.00098701, "lower", 0.000988)],
)  # fmt: skip
def test_rounding_goes_to_the_easier_side(value: float, better: str, expected: float) -> None:
    assert rounded(value, Metric("m", better)) == expected  # type: ignore[arg-type]
