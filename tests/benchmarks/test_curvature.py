"""Times of curvature products, as ratios to the usual methods without thalweg, in one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.curvature import Fisher, Hessian, flat, lanczos, random_start
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import ComponentRef, Trial
from timing import ratio

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
