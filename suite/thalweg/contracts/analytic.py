"""Problems that are functions of a vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from thalweg.contracts.costs import DECLARED, Costs
from thalweg.contracts.problem import Batch, Draw, LoadedProblem, Metric, Split
from thalweg.contracts.supervised import LOSS


class AnalyticFunction(LoadedProblem):
    """A function f of the vector that the architecture ``point`` holds: no data, one split, known answers.

    Args:
        f: the function, (D,) -> scalar, differentiable.
        start: draws the starting point from a generator, in float64.
        metric: how its value is read.
        gradient: df/dx in closed form, (D,) -> (D,), where it is known.
        hessian: the matrix of second derivatives in closed form, (D,) -> (D, D), where it is known.
        minimizers: global minimizers, where they are known: some or all.
        minimum: the value there.
        costs: what f, its gradient and products with its Hessian cost. torch's counter knows products of matrices and
            not the functions that a formula is made of, so the costs of a function are declared.
    """

    def __init__(
        self,
        f: Callable[[Tensor], Tensor],
        start: Callable[[torch.Generator], Tensor],
        metric: Metric = LOSS,
        gradient: Callable[[Tensor], Tensor] | None = None,
        hessian: Callable[[Tensor], Tensor] | None = None,
        minimizers: Sequence[Tensor] = (),
        minimum: float | None = None,
        costs: Costs = DECLARED,
    ) -> None:
        self.f = f
        self.start = start
        self.metrics = (metric,)
        self.gradient = gradient
        self.hessian = hessian
        self.minimizers = minimizers
        self.minimum = minimum
        self.costs = costs
        self.sizes = {"train": 1}

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """There is one batch, and it is empty."""
        return Batch(None, None, 1)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """f at the module's point."""
        return self.f(module())

    @torch.no_grad()
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """f at the module's point."""
        return {"loss": float(self.f(module()))}

    @torch.no_grad()
    def initialize(self, module: nn.Module, draw: Draw) -> None:
        """Put the point at its start; several tensors hold consecutive pieces of the vector."""
        tensors = list(module.parameters())
        pieces = torch.split(self.start(draw.generator("start")), [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))
