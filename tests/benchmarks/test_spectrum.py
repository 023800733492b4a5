"""Times of the spectral density by 50 steps of Lanczos' method on all digits, as ratios to other libraries.

Each side is measured in one process on one thread, from its operator to nodes and weights. Both agree on a product with
one vector.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from curvature_peers import PEERS, STEPS, convnet, loss_of_digits, matrix_products, mlp, peer
from thalweg.contracts.objective import Objective
from thalweg.curvature import Density, flat, hessian, quadratures, random_start, spectral_density, width
from timing import KEPT, ratios, record


def density(objective: Objective) -> tuple[Density, Tensor]:
    """The density from one start vector, and the eigenvalues of its quadrature."""
    like = flat(objective.parameters).detach()
    (run,) = quadratures(hessian(objective).__matmul__, like, STEPS, 1, torch.Generator().manual_seed(0))
    low, high = run.eigenvalues()[[0, -1]].tolist()
    return spectral_density([run], width(low, high, STEPS)), run.eigenvalues()


@pytest.mark.benchmark(group="a spectral density by 50 steps of Lanczos' method on all digits")
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("build", [mlp, convnet])
def test_a_density(benchmark: Any, build: Callable[[], nn.Module], name: str) -> None:
    objective = loss_of_digits(build, 1797 if KEPT else 64)
    other, ours = peer(name, objective), hessian(objective)
    vector = random_start(flat(objective.parameters).detach(), torch.Generator().manual_seed(1))
    found = ours @ vector
    torch.testing.assert_close(found, other.product(vector), rtol=1e-3, atol=1e-4 * float(found.abs().max()))
    pairs = 7 if build is mlp else 5
    values = ratios(lambda: density(objective), other.density, pairs)
    alone = ratios(matrix_products(objective), lambda: other.product(vector), pairs)
    record(benchmark, f"density-{build.__name__}-{name}", values, floor=median(alone))
    started = time.process_time()
    density(objective)
    benchmark.extra_info["seconds"] = round(time.process_time() - started, 3)
    benchmark.pedantic(lambda: density(objective), rounds=1)
