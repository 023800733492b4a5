"""The base class and the options of the classical test functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Metric, Option, Problem, Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DIM = Option("dim", 2, "[2, inf)", "number of variables")


class FunctionProblem(Problem):
    """A function of a vector with a known global minimum."""

    splits = ("train",)
    metrics = (Metric("loss", "lower", "log"),)

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """A function of a vector."""
        return Shape("function", (), (options.get("dim", 2),))


def around(point: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """``point`` plus normal noise of deviation ``spread``, so that every seed has another start."""
    import torch

    return point + spread * torch.randn(point.shape, generator=generator, dtype=torch.float64)
