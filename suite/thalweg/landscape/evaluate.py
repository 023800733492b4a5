"""The one primitive under every landscape probe: the loss (and metrics) at many weight vectors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parameters_to_vector

from thalweg.contracts.objective import kept_buffers
from thalweg.contracts.problem import LoadedProblem, Split

BatchNorm = Literal["running", "batch"]


@dataclass(frozen=True)
class Line:
    """The points start + t (end - start) for each t: K points, made one at a time. At t = 0 and 1 the ends, exactly."""

    start: Tensor
    end: Tensor
    t: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.t)

    def __iter__(self) -> Iterator[Tensor]:
        for t in self.t:
            # at the ends the other end has weight zero, so that no rounding moves the point
            yield (1 - t) * self.start + t * self.end


@dataclass(frozen=True)
class Plane:
    """The points center + x d1 + y d2, x running fastest: point number i * len(x) + j is (x[j], y[i])."""

    center: Tensor
    d1: Tensor
    d2: Tensor
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.x) * len(self.y)

    def __iter__(self) -> Iterator[Tensor]:
        for y in self.y:
            row = self.center + y * self.d2
            for x in self.x:
                yield row + x * self.d1


def losses_at(
    module: nn.Module,
    problem: LoadedProblem,
    points: Tensor | Line | Plane,
    split: Split = "train",
    batch_norm: BatchNorm = "running",
) -> dict[str, Tensor]:
    """Every metric of ``split`` at K weight vectors.

    Args:
        module: the module; it is copied and never changed, also when this raises.
        problem: where loss and data come from.
        points: weight vectors in the order of ``module.parameters()``: a (K, P) tensor, a line or a plane.
        split: the data, all of it.
        batch_norm: ``"running"`` uses the module's running statistics at every point; ``"batch"`` those of the data at
            that point, as in training.

    Returns:
        metric name -> float64 tensor of shape (K,). Values that are not finite are kept as they are.

    Raises:
        ValueError: a point does not have P numbers.
    """
    walker = copy.deepcopy(module)
    walker.eval()
    if batch_norm == "batch":
        for layer in walker.modules():
            # these alone: dropout stays off, a surface is not random
            if isinstance(layer, _BatchNorm):
                layer.train()
    parameters = list(walker.parameters())
    size = sum(parameter.numel() for parameter in parameters)
    values: dict[str, list[float]] = {}
    with torch.no_grad(), kept_buffers(walker):
        for point in points:
            if point.shape != (size,):
                raise ValueError(f"shape mismatch: a point has shape {tuple(point.shape)}, expected ({size},)")
            offset = 0
            for parameter in parameters:
                parameter.copy_(point[offset : offset + parameter.numel()].view_as(parameter))
                offset += parameter.numel()
            for name, value in problem.evaluate(walker, split).items():
                values.setdefault(name, []).append(value)
    return {name: torch.tensor(column, dtype=torch.float64) for name, column in values.items()}


def flat(module: nn.Module) -> Tensor:
    """A module's parameters as one detached vector (P,)."""
    return parameters_to_vector(module.parameters()).detach().clone()


def flat_from(module: nn.Module, state: dict[str, Tensor]) -> Tensor:
    """The parameters of a state dict as one vector (P,), in the order and on the device of ``module.parameters()``."""
    return torch.cat([state[name].reshape(-1).to(parameter) for name, parameter in module.named_parameters()])
