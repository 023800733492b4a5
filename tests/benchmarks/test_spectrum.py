"""Times of the spectral density, as ratios to curvlinops, in one process on one thread."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from probing import ref
from thalweg.contracts.budget import Budget
from thalweg.contracts.objective import Objective
from thalweg.curvature import Density, Hessian, flat, quadratures, spectral_density, width
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.trial import Trial
from timing import ratio

STEPS = 50
PAIRS = 3


GROUP = "spectral density by 50 Lanczos steps, MLP 64-128-128-10 on all digits"


def loss_of_digits(registry: Registry) -> Objective:
    trial = Trial(
        problem=ref("digits"),
        architecture=ref("mlp", widths=[128, 128]),
        optimizer=ref("sgd"),
        budget=Budget(epochs=1),
        batch_size="full",
        seed=0,
    )
    it = assemble(trial, registry)
    it.objective.begin_step(it.problem.batch("train", 0, it.draw), 0)
    assert sum(parameter.numel() for parameter in it.objective.parameters) == 26_122
    return it.objective


def density(objective: Objective) -> tuple[Density, torch.Tensor]:
    """The density from one start vector, and the eigenvalues of its quadrature."""
    like = flat(objective.parameters).detach()
    (run,) = quadratures(Hessian(objective).__matmul__, like, STEPS, 1, torch.Generator().manual_seed(0))
    low, high = run.eigenvalues()[[0, -1]].tolist()
    return spectral_density([run], width(low, high, STEPS)), run.eigenvalues()


@pytest.mark.benchmark(group=GROUP)
def test_density_against_curvlinops(benchmark: Any, registry: Registry) -> None:
    """Both fully from 50 products on one start vector; theirs is given the interval, which it would search for."""
    curvlinops = pytest.importorskip("curvlinops")
    objective = loss_of_digits(registry)
    grid = density(objective)[0].grid
    data = [(objective.batch.inputs, objective.batch.targets)]

    def theirs() -> object:
        operator = curvlinops.HessianLinearOperator(
            objective.module, nn.CrossEntropyLoss(), objective.parameters, data, check_deterministic=False
        )
        return curvlinops.lanczos_approximate_spectrum(
            operator, STEPS, num_points=len(grid), boundaries=(float(grid[0]), float(grid[-1]))
        )

    theirs()
    benchmark.extra_info["ratio"] = ratio(lambda: density(objective), theirs, PAIRS)
    benchmark.pedantic(lambda: density(objective), rounds=1)


@pytest.mark.benchmark(group=GROUP)
def test_density_against_pyhessian(benchmark: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes and weights of one start vector, where it is installed: ``pip install --no-deps pyhessian==0.1``.

    It calls torch.eig, which is gone: a shim gives it.
    """
    pyhessian = pytest.importorskip("pyhessian")

    def eig(matrix: torch.Tensor, eigenvectors: bool) -> tuple[torch.Tensor, torch.Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], 1), vectors

    monkeypatch.setattr(torch, "eig", eig, raising=False)
    objective = loss_of_digits(registry)
    batch = (objective.batch.inputs, objective.batch.targets)

    def theirs() -> Any:
        return pyhessian.hessian(objective.module, nn.CrossEntropyLoss(), data=batch, cuda=False).density(STEPS)

    assert max(theirs()[0][0]) == pytest.approx(float(density(objective)[1][-1]), rel=1e-3)
    benchmark.extra_info["ratio"] = ratio(lambda: density(objective), theirs, PAIRS)
    benchmark.pedantic(lambda: density(objective), rounds=1)
