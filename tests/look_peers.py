"""A small network on 20 examples in float64, with references of torch's autograd alone, for looks against peers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from thalweg import look
from thalweg.contracts import Draw
from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.look import Look

PINS = dict(
    line.split("==") for line in (Path(__file__).parent / "peers" / "pins.txt").read_text(encoding="utf-8").split()
)
"""The version of each peer that the tests speak of."""

Floats = NDArray[np.float64]
Batch = tuple[Tensor, Tensor]
Ticks = Sequence[float] | Floats
Criterion = Callable[[Tensor, Tensor], Tensor]

SIDE = 9
TICKS = np.linspace(-1, 1, SIDE)


def peer(module: str, package: str) -> ModuleType:
    """A module of a peer; skips where the peer is missing, or has another version than the measured one."""
    found: ModuleType = pytest.importorskip(module, exc_type=ImportError)
    if version(package) != PINS[package]:
        pytest.skip(f"{package} {version(package)} is installed, and {PINS[package]} was measured")
    return found


def network(*layers: nn.Module) -> nn.Sequential:
    """An MLP of 53 weights, in evaluation mode; ``layers`` stand after its first layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # made in float64, so that no weight has a float32 value
        first, last = nn.Linear(6, 5, dtype=torch.float64), nn.Linear(5, 3, dtype=torch.float64)
        return nn.Sequential(first, *layers, nn.Tanh(), last).double().eval()


def examples(n: int = 20) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(n, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (n,), generator=generator)


def batches(*sizes: int) -> list[Batch]:
    """All examples in batches of these sizes."""
    x, y = examples(sum(sizes))
    return list(zip(x.split(sizes), y.split(sizes), strict=True))


def loss(module: nn.Module, batch: Batch) -> Tensor:
    return functional.cross_entropy(module(batch[0]), batch[1])


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def like(module: nn.Module, vector: Tensor) -> list[Tensor]:
    """A vector in the shapes of the parameters."""
    parameters = list(module.parameters())
    pieces = vector.split([p.numel() for p in parameters])
    return [piece.view_as(p).clone() for piece, p in zip(pieces, parameters, strict=True)]


def loss_at(module: nn.Module, vector: Tensor, batch: Batch, criterion: Criterion = functional.cross_entropy) -> Tensor:
    """The loss of a batch with a vector in the place of the weights; the module stays as it is."""
    shapes = dict(module.named_parameters())
    pieces = vector.split([p.numel() for p in shapes.values()])
    state = {name: piece.view_as(p) for (name, p), piece in zip(shapes.items(), pieces, strict=True)}
    return criterion(functional_call(module, state, (batch[0],)), batch[1])


def surface(module: nn.Module, batch: Batch, points: Tensor) -> Floats:
    """The losses at points of shape (rows, columns, P)."""
    with torch.no_grad():
        return np.array([[float(loss_at(module, point, batch)) for point in row] for row in points])


def hessian(module: nn.Module, batch: Batch, criterion: Criterion = functional.cross_entropy) -> Tensor:
    """The Hessian (P, P) of the loss of a batch."""
    found: Tensor = torch.autograd.functional.hessian(
        lambda vector: loss_at(module, vector, batch, criterion), weights(module)
    )
    return found


def directions(module: nn.Module, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The two directions that ``look.surface`` draws from a seed."""
    generator = Draw(seed, None).generator("probe/surface", 0)
    first, second = (filter_normalized(module, random_direction(module, generator)) for _ in range(2))
    return first, second


def grid(center: Tensor, first: Tensor, second: Tensor, x: Ticks, y: Ticks) -> Tensor:
    """The points (len(x), len(y), P) of a plane."""
    a, b = (torch.tensor(list(ticks), dtype=center.dtype) for ticks in (x, y))
    return center + a[:, None, None] * first + b[None, :, None] * second


def losses_of(found: Look) -> Floats:
    """The losses of a surface, with x along the rows."""
    table = found.table[found.table["kind"] == "grid"]
    side = round(len(table) ** 0.5)
    # x runs fastest in the table
    return np.asarray(table["loss"].to_numpy(float).reshape(side, side)).T


def exact_surface(module: nn.Module, data: Any) -> Floats:
    """The float64 reference for the plane of ``directions``, in evaluation mode; ``look.surface`` meets it."""
    points = grid(weights(module), *directions(module), TICKS, TICKS)
    expected = surface(copy.deepcopy(module).eval(), examples(), points)
    found = look.surface(module, "cross_entropy", data, resolution=SIDE, progress=False)
    np.testing.assert_allclose(losses_of(found), expected, rtol=1e-12)
    return expected


def exact_hessian(module: nn.Module, data: Any, criterion: Any = functional.cross_entropy) -> Tensor:
    """The float64 reference for the Hessian on all examples; ``look`` meets its trace and eigenvalues to rounding.

    Hutch++ is exact where a third of its products span all weights, and Lanczos' method after as many steps.
    """
    expected, p = hessian(copy.deepcopy(module).eval(), examples(), criterion), len(weights(module))
    table = look.trace(module, criterion, data, vectors=3 * p, progress=False).table
    (trace,) = table.loc[table["quantity"] == "Hutch++", "value"]
    assert trace == pytest.approx(float(expected.trace()), rel=1e-10)
    cheap = {"steps": 5, "draws": 1, "vectors": 6}
    table = look.spectrum(module, criterion, data, eigenvalues=3, iterations=p, progress=False, **cheap).table
    found = table[table["kind"] == "eigenvalue"].set_index(["quantity", "index"])["value"]
    values = torch.linalg.eigvalsh(expected)
    for i in range(3):
        assert found["largest", i + 1] == pytest.approx(float(values[-1 - i]), rel=1e-8)
        assert found["smallest", i + 1] == pytest.approx(float(values[i]), rel=1e-8)
    return expected


def vector(module: nn.Module) -> Tensor:
    return torch.randn(len(weights(module)), dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def distance(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||."""
    return float((found - expected).norm() / expected.norm())
