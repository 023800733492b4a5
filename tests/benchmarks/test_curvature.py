"""Times of curvature products, as ratios to the usual methods without thalweg, in one run.

hessian-eigenthings 1.0.0a5 estimates the same trace; its benchmarks are skipped where it is not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from curvature_peers import convnet, loss_of_digits, matrix_products, mlp, peer
from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.curvature import Fisher, Hessian, flat, hessian, hutchinson, lanczos, rademacher, random_start
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial
from timing import KEPT, ratio, ratios, record

PAIRS = 9
PRODUCTS = 20


def digits(registry: Registry, batch: int) -> Objective:
    it = assemble(
        Trial(
            problem=ComponentRef(name="digits", provider="p"),
            architecture=ComponentRef(name="mlp", provider="p"),
            optimizer=ComponentRef(name="sgd", provider="p"),
            budget=Budget(epochs=1),
            dtype="float64",
            batch_size=batch,
            seed=0,
        ),
        registry,
    )
    it.objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
    return it.objective


def compare(benchmark: Any, ours: Callable[[], Tensor], theirs: Callable[[], Tensor]) -> None:
    """Check that both results agree, then time both in alternating pairs, so that other load slows down both."""
    torch.testing.assert_close(ours(), theirs(), rtol=1e-8, atol=1e-10)
    benchmark.extra_info["ratio"] = ratio(ours, theirs, PAIRS)
    benchmark.pedantic(ours, rounds=5)


@pytest.mark.benchmark(group="20 exact Fisher products on 128 digits and an MLP")
def test_fisher_products_against_a_loop_over_examples(benchmark: Any, registry: Registry) -> None:
    objective = digits(registry, 128)
    size = sum(parameter.numel() for parameter in objective.parameters)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(PRODUCTS, size, generator=generator, dtype=torch.float64)

    def one_after_another() -> Tensor:
        fisher = Fisher(objective)
        return torch.stack([fisher @ v for v in vectors])

    def loop() -> Tensor:
        """sum_y p(y|x) (g_y'v) g_y over classes and examples; an example's gradients serve all products."""
        total = torch.zeros_like(vectors)
        for x in objective.batch.inputs:  # type: ignore[union-attr]
            log_p = objective.module(x[None]).log_softmax(1)[0]
            g = torch.stack(
                [flat(torch.autograd.grad(each, objective.parameters, retain_graph=True)) for each in log_p]
            )
            total += (vectors @ g.T * log_p.detach().exp()) @ g
        return total / objective.batch.size

    compare(benchmark, one_after_another, loop)


@pytest.mark.benchmark(group="30 steps of Lanczos' method on a Hessian of 512 digits and an MLP")
def test_lanczos_on_one_graph_against_a_graph_for_each_product(benchmark: Any, registry: Registry) -> None:
    objective = digits(registry, 512)
    start = random_start(flat(objective.parameters).detach(), torch.Generator().manual_seed(0))

    def ours() -> Tensor:
        return lanczos(Hessian(objective).__matmul__, start, 30).eigenvalues()[[0, -1]]

    def rebuilt() -> Tensor:
        return lanczos(lambda v: Hessian(objective) @ v, start, 30).eigenvalues()[[0, -1]]

    compare(benchmark, ours, rebuilt)


SAMPLES = 99
TRACE = "a trace by 99 Hutchinson products, MLP 64-128-128-10 on all digits"


def trace(objective: Objective) -> float:
    like = flat(objective.parameters).detach()
    return hutchinson(hessian(objective).products, like, SAMPLES, torch.Generator().manual_seed(0)).value


@pytest.mark.benchmark(group=TRACE)
def test_a_trace_against_one_graph_by_hand(benchmark: Any) -> None:
    objective = loss_of_digits(mlp)
    parameters, (x, y) = objective.parameters, (objective.batch.inputs, objective.targets)

    def by_hand() -> float:
        loss = nn.functional.cross_entropy(objective.module(x), y)
        gradient = flat(torch.autograd.grad(loss, parameters, create_graph=True))
        z = rademacher(SAMPLES, gradient, torch.Generator().manual_seed(0))
        found = [v @ flat(torch.autograd.grad(gradient, parameters, v, retain_graph=True)) for v in z]
        return float(torch.stack(found).mean())

    assert trace(objective) == pytest.approx(by_hand(), rel=1e-4)
    pairs = 7
    one = random_start(flat(parameters).detach(), torch.Generator().manual_seed(0))
    graph = flat(
        torch.autograd.grad(nn.functional.cross_entropy(objective.module(x), y), parameters, create_graph=True)
    )
    alone = ratios(
        matrix_products(objective), lambda: torch.autograd.grad(graph, parameters, one, retain_graph=True), pairs
    )
    record(benchmark, "trace-by-hand", ratios(lambda: trace(objective), by_hand, pairs), floor=median(alone))
    benchmark.pedantic(lambda: trace(objective), rounds=1)


@pytest.mark.benchmark(group=TRACE)
def test_a_trace_against_hessian_eigenthings(benchmark: Any) -> None:
    objective = loss_of_digits(mlp)
    other: Any = peer("hessian-eigenthings", objective)
    vector = random_start(flat(objective.parameters).detach(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(hessian(objective) @ vector, other.product(vector), rtol=1e-3, atol=1e-5)
    pairs = 7
    alone = ratios(matrix_products(objective), lambda: other.product(vector), pairs)
    values = ratios(lambda: trace(objective), lambda: other.trace(SAMPLES), pairs)
    record(benchmark, "trace-hessian-eigenthings", values, floor=median(alone))
    benchmark.pedantic(lambda: trace(objective), rounds=1)


@pytest.mark.benchmark(group=TRACE)
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is reset through Linux")
@pytest.mark.parametrize("side", ["thalweg", "hessian-eigenthings"])
def test_the_memory_of_a_trace(benchmark: Any, side: str) -> None:
    """The peak of resident memory above network, data and one gradient, in a process of its own."""
    if side != "thalweg":
        pytest.importorskip("hessian_eigenthings")
    script = Path(__file__).with_name("memory_of_trace.py")

    def measured() -> float:
        path = os.pathsep.join([str(script.parents[1]), *sys.path])
        command = [sys.executable, str(script), side]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
        )
        return float(done.stdout)

    record(benchmark, f"trace-memory-{side}", [measured() for _ in range(5 if KEPT else 1)], unit="MB")
    benchmark.pedantic(lambda: None, rounds=1)


@pytest.mark.benchmark(group="64 products at once, by the rule, against one by one and against a stack")
@pytest.mark.parametrize("other", ["one-by-one", "stacked"])
@pytest.mark.parametrize(
    ("build", "examples"), [(mlp, 8), (mlp, 32), (mlp, 128), (mlp, 512), (convnet, 8), (convnet, 64)]
)
def test_the_rule_for_products_at_once(
    benchmark: Any, build: Callable[[], nn.Module], examples: int, other: str
) -> None:
    """On a graph. The rule depends on sizes alone; these ratios keep it honest."""
    hessian_on_graph = Hessian(loss_of_digits(build, examples))
    vectors = rademacher(64, hessian_on_graph.gradient, torch.Generator().manual_seed(0))
    chunk = 1 if other == "one-by-one" else len(vectors)

    def ours() -> Tensor:
        return hessian_on_graph.products(vectors)

    def theirs() -> Tensor:
        return hessian_on_graph._in_chunks(vectors, chunk)

    torch.testing.assert_close(ours(), theirs(), rtol=1e-3, atol=1e-4)
    benchmark.extra_info["at_once"] = hessian_on_graph._at_once()
    record(benchmark, f"products-{build.__name__}-{examples}-over-{other}", ratios(ours, theirs, 7))
    benchmark.pedantic(ours, rounds=1)
