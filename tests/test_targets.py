"""The problems' targets follow from the baselines by the rule of docs/benchmarks.md; no start meets easier targets."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median_high, median_low

import pytest

from thalweg.contracts import LoadContext, Metric, Problem
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.errors import UserError
from thalweg.expand import load_benchmark
from thalweg.kept import find_benchmark
from thalweg.plan import Plan
from thalweg.registry import Registry, load_registry
from thalweg.scoring.observations import Observations, observe, observe_stored
from thalweg.scoring.over_all import runtimes
from thalweg.scoring.targets import EASIER, targets_of
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in
from thalweg.store.verify import verify
from thalweg_plugins.problems.ladders import LADDERS

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


def test_the_page_names_the_functions_that_count_as_solved(registry: Registry) -> None:
    page = (Path(__file__).parents[1] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"the target of ([\w, -]+) is 1e-6", page)
    solved = set()
    for spec in WORKLOADS.values():
        problem = registry.problem(spec.problem.name)
        minimum = known_minimum(registry, problem.name)
        if minimum is not None and problem.target is not None and problem.target.value == minimum + SOLVED:
            solved.add(problem.name)
    assert set(re.split(", | and ", told)) == solved


def test_problems_without_a_target_are_those_whose_data_was_not_at_hand(registry: Registry) -> None:
    without = {entry.name for entry in registry.entries("problems") if registry.problem(entry.name).target is None}
    users = {"arrays", "arrays-regression"}
    assert without == users | {"mnist", "mnist-autoencoder", "kmnist", "cifar10", "cifar100"}
    by_rule = {problem.name for problem in LADDERS}
    assert {spec.problem.name for spec in WORKLOADS.values()} == {
        entry.name for entry in registry.entries("problems")
    } - without - by_rule


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


RANDOM_STARTS = {"rastrigin", "styblinski-tang"} | {problem.name for problem in LADDERS}
"""Their starts are drawn with the seed, and some of them are nearly as good as the target."""


def built_in(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.entries("benchmarks")]


def test_targets_of_built_in_workloads_are_four_different_ones_up_to_the_start(registry: Registry) -> None:
    seen = 0
    for name in built_in(registry):
        # as where results are only read: data that is not there is not asked for
        benchmark = replace(load_benchmark(name, registry), files={})
        for workload in benchmark.expand(registry).workloads.values():
            targets, metric = targets_of(workload), workload.target_metric
            if metric is None:
                assert targets == []
                continue
            seen += 1
            if benchmark.spec.workloads[workload.name].problem.name in RANDOM_STARTS:
                assert targets == [workload.target.value]
                continue
            assert len(targets) == 1 + EASIER
            assert workload.start is not None
            ordered = [*targets, workload.start]
            assert all(a > b if metric.better == "higher" else a < b for a, b in pairwise(ordered)), workload.name
    assert seen > 25


@pytest.mark.parametrize("name", benchmarks_in(REFERENCE))
def test_no_recorded_start_meets_an_easier_target(registry: Registry, name: str) -> None:
    stored = read_stored(BenchmarkResults(REFERENCE, name))
    curves = observe_stored(stored).curves
    starts = curves[curves["step"] == 0]
    for workload in replace(find_benchmark(name, registry, REFERENCE), files={}).expand(registry).workloads.values():
        metric = workload.target_metric
        if metric is None:
            continue
        rows = starts[(starts["workload"] == workload.name) & (starts["split"] == workload.target_split)]
        values = rows.loc[rows["metric"] == metric.name, "value"].dropna()
        assert len(values) or metric.name in ("average_regret", "mean_loss")
        for target in targets_of(workload)[1:]:
            met = values >= target if metric.better == "higher" else values <= target
            assert not met.any(), (workload.name, target)


def reference(name: str, registry: Registry) -> tuple[Plan, Observations]:
    plan = load_benchmark(name, registry).expand(registry)
    return plan, observe(plan, read_stored(BenchmarkResults(REFERENCE, name)))


@pytest.mark.parametrize("name", ["baselines", "analytic", "quick"])
def test_areas_begin_at_0(registry: Registry, name: str) -> None:
    assert runtimes(*reference(name, registry))["share"].min() > 0


def test_a_start_that_meets_the_target_earns_nothing_before_the_first_step(registry: Registry) -> None:
    plan, seen = reference("analytic", registry)
    starts = seen.curves[(seen.curves["step"] == 0) & (seen.curves["workload"] == "styblinski-tang")]
    assert (starts["value"] <= plan.workloads["styblinski-tang"].target.value).any()
    times = runtimes(plan, seen)
    assert times.loc[times["workload"] == "styblinski-tang", "share"].min() > 0


def test_the_mean_pixel_of_the_digits_is_the_declared_one(registry: Registry) -> None:
    import torch

    problem = registry.problem("digits-autoencoder")
    loaded = problem.load({}, LoadContext(torch.device("cpu"), torch.float64))
    assert isinstance(loaded, Supervised)
    pixels = torch.cat([inputs for inputs, _ in loaded.data.values()])
    answer = pixels.mean().expand_as(pixels)
    loss = torch.nn.functional.binary_cross_entropy(answer, pixels, reduction="none").sum(1).mean()
    error = (answer - pixels).square().sum(1).mean()
    assert problem.starting_level({}, "squared_error") == pytest.approx(float(error), rel=1e-3)
    assert problem.starting_level({}, "loss") == pytest.approx(float(loss), rel=1e-3)


@pytest.mark.parametrize("name", ["quadratic", "rosenbrock", "beale", "deep-linear-network"])
def test_the_level_of_a_function_is_the_mean_over_its_starts(registry: Registry, name: str) -> None:
    import torch

    problem = registry.problem(name)
    fixed = {"spread": 1e-9} if name in ("rosenbrock", "beale") else {}
    options = resolve(problem.options, fixed, name)
    loaded = problem.load(options, LoadContext(torch.device("cpu"), torch.float64))
    assert isinstance(loaded, AnalyticFunction)
    values = [float(loaded.f(loaded.start(torch.Generator().manual_seed(seed)))) for seed in range(300)]
    assert problem.starting_level(options, "loss") == pytest.approx(sum(values) / 300, rel=0.05)


def test_a_target_may_name_its_start(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        """
[workloads.a]
problem = "rastrigin"
architecture = "point"
target = { metric = "loss", value = 1.0, start = 16.0 }
[optimizers.sgd]
""",
        encoding="utf-8",
    )
    workload = load_benchmark(str(tmp_path / "mine.toml"), registry).expand(registry).workloads["a"]
    assert targets_of(workload) == pytest.approx([1, 2, 4, 8])


def test_a_level_that_cannot_be_computed_is_one_line(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Problem, options: object, metric: str) -> float:
        raise KeyError(metric)

    monkeypatch.setattr(type(registry.problem("quadratic")), "starting_level", broken)
    with pytest.raises(UserError, match=r"workloads.quadratic.problem: 'quadratic': starting_level: KeyError"):
        load_benchmark("analytic", registry).expand(registry)


def test_the_page_tells_the_targets_of_the_digits(registry: Registry) -> None:
    page = (Path(__file__).parents[1] / "docs" / "scoring.md").read_text(encoding="utf-8")
    targets = targets_of(load_benchmark("baselines", registry).expand(registry).workloads["digits"])
    first, second, third, own = (f"{100 * value:.1f}%" for value in reversed(targets))
    assert f"the targets are {first}, {second}, {third} and {own} accuracy" in page
