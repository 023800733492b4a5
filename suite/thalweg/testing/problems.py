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
from torch import Tensor, nn

from thalweg.contracts import Draw, LoadContext, LoadedProblem, Problem
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, NotMet, condition, expect
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
    raise NotMet(f"an architecture that fits {shape}", "none does")


@condition(
    finds="metrics, splits or sizes that differ from the declaration",
    means="a benchmark that passes its checks fails while it trains, and `thalweg show` tells other sizes",
)
def declares_what_it_loads(registry: Registry, name: str) -> None:
    """Metrics, splits and sizes are as declared. The validation split comes from the training examples."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        metrics = tuple(loaded.metrics)
        expect(metrics == tuple(problem.metrics), f"the declared metrics {problem.metrics}", f"{metrics}")
        splits, there = set(problem.splits) - {"valid"}, set(loaded.sizes)
        expect(there == splits, f"the declared splits {sorted(splits)}", f"{sorted(there)}")
        declared = problem.sizes(options)
        right = not declared or dict(loaded.sizes) == declared
        expect(right, f"the declared sizes {declared}", f"{dict(loaded.sizes)}")
        if "valid" in problem.splits:
            sizes = _load(problem, options, 0.25).sizes
            expected = dict(loaded.sizes) | {"valid": math.ceil(loaded.sizes["train"] / 4)}
            expected["train"] -= expected["valid"]
            told = f"a quarter of the training examples to be kept for validation, {expected}"
            expect(dict(sizes) == expected, told, f"{dict(sizes)}")


@condition(
    finds="a starting level that already meets the target",
    means="every optimizer reaches the target at once, and ranks by the cost to the target mean nothing",
)
def starts_above_its_target(registry: Registry, name: str) -> None:
    """The starting level of each metric is a finite number or None. It does not meet the declared target."""
    problem = registry.problem(name)
    with _small(registry, name) as (_, options):
        for metric in problem.metrics:
            level = problem.starting_level(options, metric.name)
            finite = level is None or math.isfinite(level)
            expect(finite, f"a finite starting level of {metric.name}, or None", f"{level}")
    target = problem.target
    if target is None:
        return
    better = next(metric.better for metric in problem.metrics if metric.name == target.metric)
    level = problem.starting_level(resolve(problem.options, {}, name), target.metric)
    worse = level is None or (level < target.value if better == "higher" else level > target.value)
    expect(worse, f"a starting level that does not meet the target {target}", f"{level}")


@condition(
    finds="metrics that are missing, not finite, or differ from evaluation to evaluation",
    means="leaderboards lack values, or rank by noise of the evaluation",
)
def evaluates_every_metric(registry: Registry, name: str) -> None:
    """Every metric of every split is finite, not negative on a log scale, and equal in a second evaluation."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        module = _module(registry, problem, options, loaded).eval()
        for split in loaded.sizes:
            values = loaded.evaluate(module, split)  # type: ignore[arg-type]
            again = loaded.evaluate(module, split)  # type: ignore[arg-type]
            expect(values == again, f"two evaluations of {split} to be equal", f"{values} and {again}")
            values |= loaded.online_metrics(1, values["loss"], Draw(0, 1))
            names = {metric.name for metric in loaded.metrics}
            expect(set(values) == names, f"the metrics {sorted(names)}", f"{sorted(values)}")
            finite = all(math.isfinite(value) for value in values.values())
            expect(finite, f"finite values on {split}", f"{values}")
            below = [one.name for one in loaded.metrics if one.scale == "log" and values[one.name] < 0]
            hint = f'declare Metric("{below[0]}", ..., "linear")' if below else ""
            expect(not below, f"no value below zero of metrics with a log scale on {split}", f"{values}", hint)


@condition(
    finds="batches that depend on the steps before, or ignore the seed",
    means="an interrupted trial sees other batches afterwards, and optimizers at one seed do not see the same data",
)
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
    expect(forward == backward, "a step's batch to be a function of seed and step", f"{forward}, then {backward}")
    if n > 1:
        expect(len(set(forward)) > 1, "other batches at other steps", "every step has the same batch")
    if n > 1 and not loaded.online:
        other = losses(Draw(1, size), [0, 1, 2])
        expect(forward != other, "other batches for another seed", f"losses {forward} of both seeds")
    loss = loaded.loss(module, loaded.batch("train", 0, Draw(0, None)))
    expect(loss.dim() == 0, "a loss that is a scalar", f"a loss of shape {tuple(loss.shape)}")
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    finite = all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    expect(finite, "a finite gradient at the start", "it is not finite")


@condition(
    finds="a training loss that is not the evaluated loss",
    means="the curve shows another function than the one that is minimised",
)
def full_batch_loss_is_the_evaluated_one(registry: Registry, name: str) -> None:
    """The loss of the whole training split as a batch equals its evaluation, to 1e-9 in float64."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        module = _module(registry, problem, options, loaded).eval()
    if loaded.online:
        raise DoesNotApply("each step has one loss, and no batch holds all losses")
    if isinstance(loaded, Supervised):
        loaded = loaded.without_augmentation()
    batch = loaded.loss(module, loaded.batch("train", 0, Draw(0, None))).item()
    evaluated = loaded.evaluate(module, "train")["loss"]
    equal = math.isclose(batch, evaluated, rel_tol=1e-9, abs_tol=1e-12)
    expect(equal, f"the loss of the whole split as a batch to be the evaluated loss, {evaluated}", f"{batch}")


@condition(
    finds="a split that probes cannot look at alone",
    means="probes measure another loss than the trial's",
)
def every_split_can_be_reduced(registry: Registry, name: str) -> None:
    """A split alone has the split's loss in float64 and in float32. A reduced split has equal examples each time."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
        module = _module(registry, problem, options, loaded).eval()
    for split in loaded.sizes:
        expected = loaded.evaluate(module, split)["loss"]  # type: ignore[arg-type]
        alone = loaded.reduced(split).evaluate(module, "train")["loss"]  # type: ignore[arg-type]
        equal = math.isclose(alone, expected, rel_tol=1e-12)
        expect(equal, f"the loss of {split} by itself to be {expected}", f"{alone}")
        single = loaded.reduced(split, dtype=torch.float32).evaluate(copy.deepcopy(module).float(), "train")["loss"]  # type: ignore[arg-type]
        near = math.isclose(single, expected, rel_tol=1e-3, abs_tol=1e-5)
        expect(near, f"the loss of {split} in float32 to be near {expected}", f"{single}")
        few = loaded.reduced(split, 2)  # type: ignore[arg-type]
        both = [one.evaluate(module, "train") for one in (few, loaded.reduced(split, 2))]  # type: ignore[arg-type]
        expect(both[0] == both[1], f"the same two examples of {split} each time", f"{both}")
        count, most = few.sizes["train"], max(2, loaded.sizes["train"])
        expect(count <= most, f"at most {most} examples of {split}", f"{count}")


@condition(
    finds="a declared gradient, Hessian or minimum that is wrong",
    means="distances to the minimum are wrong, and claims about functions too",
)
def closed_forms_are_right(registry: Registry, name: str) -> None:
    """A function's declared gradient, Hessian and minimum agree with automatic differentiation, to 1e-8."""
    with _small(registry, name) as (problem, options):
        loaded = _load(problem, options)
    if not isinstance(loaded, AnalyticFunction):
        raise DoesNotApply("it is no analytic function")
    for seed in range(3):
        point = loaded.start(torch.Generator().manual_seed(seed)).double()
        if loaded.gradient is not None:
            automatic = torch.func.grad(loaded.f)(point)
            _check_close("gradient", loaded.gradient(point), automatic)
        if loaded.hessian is not None:
            automatic = torch.func.hessian(loaded.f)(point)
            _check_close("Hessian", loaded.hessian(point), automatic)
    for minimizer in loaded.minimizers:
        norm = float(torch.func.grad(loaded.f)(minimizer).norm())
        expect(
            norm < 1e-6, f"a gradient of zero at the minimizer {minimizer.tolist()}", f"a gradient of norm {norm:.2g}"
        )
        if loaded.minimum is not None:
            value = float(loaded.f(minimizer))
            right = abs(value - loaded.minimum) < 1e-8
            expect(right, f"the minimum {loaded.minimum} at {minimizer.tolist()}", f"{value}")


def _check_close(what: str, declared: Tensor, automatic: Tensor) -> None:
    expect(declared.shape == automatic.shape, f"a {what} of shape {tuple(automatic.shape)}", f"{tuple(declared.shape)}")
    close = torch.allclose(declared, automatic, rtol=1e-8, atol=1e-8)
    apart = float((declared - automatic).abs().max())
    expect(close, f"the {what} of automatic differentiation, to 1e-8", f"a difference of {apart:.2g}")


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
