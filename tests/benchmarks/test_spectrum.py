"""The spectral density against curvlinops: ratios, in the same run and process, on one thread."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from probing import ref
from thalweg.contracts.budget import Budget
from thalweg.curvature import Density, Hessian, flat, quadratures, spectral_density, width
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import Trial
from timing import ratio

STEPS = 50
PAIRS = 3


@pytest.mark.benchmark(group="spectral density by 50 Lanczos steps, MLP 64-128-128-10 on all digits")
def test_density_against_curvlinops(benchmark: Any, registry: Registry) -> None:
    """Both fully from 50 products on one start vector; theirs is given the interval, which it would search for."""
    curvlinops = pytest.importorskip("curvlinops")
    trial = Trial(
        problem=ref("digits"),
        architecture=ref("mlp", widths=[128, 128]),
        optimizer=ref("sgd"),
        budget=Budget(epochs=1),
        batch_size="full",
        seed=0,
    )
    it = assemble(trial, registry)
    objective = it.objective
    objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
    like = flat(objective.parameters).detach()
    assert len(like) == 26_122

    def ours() -> Density:
        hessian = Hessian(objective)
        (run,) = quadratures(hessian.__matmul__, like, STEPS, 1, torch.Generator().manual_seed(0))
        low, high = run.eigenvalues()[[0, -1]].tolist()
        return spectral_density([run], width(low, high, STEPS))

    grid = ours().grid
    data = [(objective.batch.inputs, objective.batch.targets)]

    def theirs() -> object:
        operator = curvlinops.HessianLinearOperator(
            objective.module, nn.CrossEntropyLoss(), objective.parameters, data, check_deterministic=False
        )
        return curvlinops.lanczos_approximate_spectrum(
            operator, STEPS, num_points=len(grid), boundaries=(float(grid[0]), float(grid[-1]))
        )

    theirs()
    benchmark.extra_info["ratio"] = ratio(ours, theirs, PAIRS)
    benchmark.pedantic(ours, rounds=1)
