"""Against peers, where they are installed: ``pip install --no-deps loss-landscapes==3.0.6 pyhessian==0.1``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
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


def seconds(*words: object) -> float:
    script = Path(__file__).parent / "surface_of.py"
    done = subprocess.run(
        [sys.executable, str(script), *map(str, words)], capture_output=True, text=True, check=True, timeout=600
    )
    return float(done.stdout)


@pytest.mark.benchmark(group="a surface against loss-landscapes' random_plane")
@pytest.mark.parametrize("theirs", ["tuned", "system"], ids=["equal-terms", "out-of-the-box"])
@pytest.mark.parametrize(
    ("network", "examples", "resolution"),
    [("mlp", 1797, 25), ("mlp", 128, 25), ("convnet", 1797, 9), ("convnet", 128, 25)],
)
def test_a_surface(benchmark: Any, network: str, examples: int, resolution: int, theirs: str) -> None:
    """Equal terms: both under the allocator that thalweg sets. Out of the box: only thalweg, which sets it itself."""
    pytest.importorskip("loss_landscapes")
    size = (network, examples, resolution)
    ratios = [seconds("thalweg", *size, "tuned") / seconds("loss-landscapes", *size, theirs) for _ in range(PAIRS)]
    benchmark.extra_info["ratio"] = round(median(ratios), 3)
    benchmark.extra_info["ratios"] = [round(each, 3) for each in ratios]
    benchmark.pedantic(lambda: seconds("thalweg", *size, "tuned"), rounds=1)


@pytest.mark.benchmark(group="spectral density by 50 Lanczos steps, MLP 64-128-128-10 on all digits")
def test_density_against_pyhessian(benchmark: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes and weights of one start vector. PyHessian 0.1 calls torch.eig, which is gone: a shim gives it."""
    pyhessian = pytest.importorskip("pyhessian")

    def eig(matrix: torch.Tensor, eigenvectors: bool) -> tuple[torch.Tensor, torch.Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], 1), vectors

    monkeypatch.setattr(torch, "eig", eig, raising=False)
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
    batch = (objective.batch.inputs, objective.batch.targets)

    def ours() -> Density:
        hessian = Hessian(objective)
        (run,) = quadratures(hessian.__matmul__, like, STEPS, 1, torch.Generator().manual_seed(0))
        low, high = run.eigenvalues()[[0, -1]].tolist()
        return spectral_density([run], width(low, high, STEPS))

    def theirs() -> Any:
        return pyhessian.hessian(objective.module, nn.CrossEntropyLoss(), data=batch, cuda=False).density(STEPS)

    nodes = theirs()[0][0]
    high = Hessian(objective)
    (run,) = quadratures(high.__matmul__, like, STEPS, 1, torch.Generator().manual_seed(0))
    assert max(nodes) == pytest.approx(float(run.eigenvalues()[-1]), rel=1e-3)
    benchmark.extra_info["ratio"] = ratio(ours, theirs, PAIRS)
    benchmark.pedantic(ours, rounds=1)
