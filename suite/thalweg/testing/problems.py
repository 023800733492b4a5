"""Checks of problems."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thalweg.contracts import Draw, LoadContext, LoadedProblem, Problem
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg.testing.others import contract


@contextmanager
def _small(registry: Registry, name: str) -> Iterator[tuple[Problem, dict[str, Any]]]:
    """The problem, and options that make it small."""
    problem = registry.problem(name)
    with tempfile.TemporaryDirectory() as folder:
        options = resolve(problem.options, problem.small(Path(folder)), name)
        problem.fetch(options)
        yield problem, options


def _load(problem: Problem, options: dict[str, Any], validation_fraction: float = 0.0) -> LoadedProblem:
    return problem.load(options, LoadContext(torch.device("cpu"), torch.float64, validation_fraction))


def _module(registry: Registry, problem: Problem, options: dict[str, Any], loaded: LoadedProblem) -> nn.Module:
    """A module of the first architecture that fits."""
    shape = problem.shape(options)
    for preferred in ("point", "linear", *(entry.name for entry in registry.entries("architectures"))):
        architecture = registry.architecture(preferred)
        settings = resolve(architecture.options, {}, preferred)
        if architecture.misfit(settings, shape) is None:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                module = architecture.build(settings, shape).double()
            loaded.initialize(module, Draw(0, None))
            return module
    raise AssertionError(f"no architecture fits {shape}")


def declares_what_it_loads(registry: Registry, name: str) -> None:
    """Metrics, splits and sizes are as declared. The validation split comes from the training examples."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        metrics = tuple(loaded.metrics)
        assert metrics == tuple(problem.metrics), (
            f"expected the declared metrics {problem.metrics}, and found {metrics}"
        )
        splits, there = set(problem.splits) - {"valid"}, set(loaded.sizes)
        assert there == splits, f"expected the declared splits {sorted(splits)}, and found {sorted(there)}"
        declared = problem.sizes(options)
        right = not declared or dict(loaded.sizes) == declared
        assert right, f"expected the declared sizes {declared}, and found {dict(loaded.sizes)}"
        if "valid" in problem.splits:
            sizes = _load(problem, options, 0.25).sizes
            expected = dict(loaded.sizes) | {"valid": math.ceil(loaded.sizes["train"] / 4)}
            expected["train"] -= expected["valid"]
            told = f"expected a quarter of the training examples to be kept for validation, {expected}"
            assert dict(sizes) == expected, f"{told}, and found {dict(sizes)}"


def starts_above_its_target(registry: Registry, name: str) -> None:
    """The starting level of each metric is a finite number or None. It does not meet the declared target."""
    problem = registry.problem(name)
    with _small(registry, name) as (_, options):
        for metric in problem.metrics:
            level = problem.starting_level(options, metric.name)
            finite = level is None or math.isfinite(level)
            assert finite, f"expected a finite starting level of {metric.name}, or None, and found {level}"
    target = problem.target
    if target is None:
        return
    better = next(metric.better for metric in problem.metrics if metric.name == target.metric)
    level = problem.starting_level(resolve(problem.options, {}, name), target.metric)
    worse = level is None or (level < target.value if better == "higher" else level > target.value)
    assert worse, f"expected a starting level that does not meet the target {target}, and found {level}"


def evaluates_every_metric(registry: Registry, name: str) -> None:
    """Every metric of every split is finite, not negative on a log scale, and equal in a second evaluation."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        module = _module(registry, problem, options, loaded).eval()
        for split in loaded.sizes:
            values = loaded.evaluate(module, split)  # type: ignore[arg-type]
            again = loaded.evaluate(module, split)  # type: ignore[arg-type]
            assert values == again, f"expected two evaluations of {split} to be equal, and found {values} and {again}"
            values |= loaded.online_metrics(1, values["loss"], Draw(0, 1))
            names = {metric.name for metric in loaded.metrics}
            assert set(values) == names, f"expected the metrics {sorted(names)}, and found {sorted(values)}"
            finite = all(math.isfinite(value) for value in values.values())
            assert finite, f"expected finite values on {split}, and found {values}"
            below = [one.name for one in loaded.metrics if one.scale == "log" and values[one.name] < 0]
            told = f"expected no value below zero of metrics with a log scale on {split}, and found {values}"
            assert not below, f'{told}: declare Metric("{below[0]}", ..., "linear")'


def repeats_its_batches(registry: Registry, name: str) -> None:
    """A step's batch is a function of seed and step. Its loss is a finite scalar with a gradient."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        module = _module(registry, problem, options, loaded)
    n = loaded.sizes["train"]
    size = max(1, min(8, n // 3))

    def losses(draw: Draw, steps: list[int]) -> list[float]:
        return [loaded.loss(module, loaded.batch("train", step, draw)).item() for step in steps]

    forward = losses(Draw(0, size), [0, 1, 2])
    backward = losses(Draw(0, size), [2, 1, 0])[::-1]
    assert forward == backward, f"expected a step's batch to be a function of seed and step: {forward}, then {backward}"
    if n > 1:
        assert len(set(forward)) > 1, "every step has the same batch"
    if n > 1 and not loaded.online:
        assert forward != losses(Draw(1, size), [0, 1, 2]), "the batches do not depend on the seed"
    loss = loaded.loss(module, loaded.batch("train", 0, Draw(0, None)))
    assert loss.dim() == 0, f"expected a loss that is a scalar, and its shape is {tuple(loss.shape)}"
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    finite = all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert finite, "expected a finite gradient at the start, and it is not"


def full_batch_loss_is_the_evaluated_one(registry: Registry, name: str) -> None:
    """The loss of the whole training split as a batch equals its evaluation, to 1e-9 in float64."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        module = _module(registry, problem, options, loaded).eval()
    if loaded.online:
        return  # each step has one loss, and no batch holds all losses
    if isinstance(loaded, Supervised):
        loaded = loaded.without_augmentation()
    batch = loaded.loss(module, loaded.batch("train", 0, Draw(0, None))).item()
    evaluated = loaded.evaluate(module, "train")["loss"]
    assert math.isclose(batch, evaluated, rel_tol=1e-9, abs_tol=1e-12), f"{batch} against {evaluated}"


def every_split_can_be_reduced(registry: Registry, name: str) -> None:
    """A split alone has the split's loss in float64 and in float32. A reduced split has equal examples each time."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        module = _module(registry, problem, options, loaded).eval()
    for split in loaded.sizes:
        expected = loaded.evaluate(module, split)["loss"]  # type: ignore[arg-type]
        alone = loaded.reduced(split).evaluate(module, "train")["loss"]  # type: ignore[arg-type]
        equal = math.isclose(alone, expected, rel_tol=1e-12)
        assert equal, f"expected the loss of {split} by itself to be {expected}, and it is {alone}"
        single = loaded.reduced(split, dtype=torch.float32).evaluate(copy.deepcopy(module).float(), "train")["loss"]  # type: ignore[arg-type]
        assert math.isclose(single, expected, rel_tol=1e-3, abs_tol=1e-5), f"{single} in float32, {expected} in float64"
        few = loaded.reduced(split, 2)  # type: ignore[arg-type]
        both = [one.evaluate(module, "train") for one in (few, loaded.reduced(split, 2))]  # type: ignore[arg-type]
        assert both[0] == both[1], f"expected the same two examples of {split} each time, and found {both}"
        count, most = few.sizes["train"], max(2, loaded.sizes["train"])
        assert count <= most, f"expected at most {most} examples of {split}, and found {count}"


def closed_forms_are_right(registry: Registry, name: str) -> None:
    """A function's declared gradient, Hessian and minimum agree with automatic differentiation, to 1e-8."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
    if not isinstance(loaded, AnalyticFunction):
        return
    for seed in range(3):
        point = loaded.start(torch.Generator().manual_seed(seed)).double()
        if loaded.gradient is not None:
            automatic = torch.func.grad(loaded.f)(point)
            torch.testing.assert_close(loaded.gradient(point), automatic, rtol=1e-8, atol=1e-8)
        if loaded.hessian is not None:
            automatic = torch.func.hessian(loaded.f)(point)
            torch.testing.assert_close(loaded.hessian(point), automatic, rtol=1e-8, atol=1e-8)
    for minimizer in loaded.minimizers:
        assert torch.func.grad(loaded.f)(minimizer).norm() < 1e-6, f"the gradient at {minimizer} is not zero"
        if loaded.minimum is not None:
            value = float(loaded.f(minimizer))
            right = abs(value - loaded.minimum) < 1e-8
            assert right, f"expected the minimum {loaded.minimum} at {minimizer}, and the value there is {value}"


CHECKS = (
    contract,
    declares_what_it_loads,
    starts_above_its_target,
    evaluates_every_metric,
    repeats_its_batches,
    full_batch_loss_is_the_evaluated_one,
    every_split_can_be_reduced,
    closed_forms_are_right,
)
