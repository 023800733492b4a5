"""Helpers for steps of all parameters as one vector. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg import Stepper
from thalweg.contracts.objective import Objective
from thalweg.contracts.real import real_count
from thalweg.curvature import CGResult, Operator, conjugate_gradients, flat, pieces
from thalweg.errors import Diverged, UserError


class FlatStepper(Stepper):
    """A stepper whose state is the learning rate and a dictionary of numbers and tensors."""

    def __init__(self, hyperparameters: Mapping[str, Any]) -> None:
        self.h = hyperparameters
        self.lr = hyperparameters["lr"]
        self.state: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """The learning rate and the state."""
        return {"lr": self.lr, **self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.state = dict(state)
        self.lr = self.state.pop("lr")


def refuse_large(name: str, module: nn.Module, limit: int) -> None:
    """UserError where the module has more parameters than the limit for dense matrices."""
    count = sum(real_count(parameter) for parameter in module.parameters() if parameter.requires_grad)
    if count > limit:
        raise UserError(
            f"{name} keeps a dense matrix with a row for each of {count} parameters, but "
            f"max_parameters = {limit}: raise it, or use a smaller network or a method without dense matrices"
        )


def position(objective: Objective) -> Tensor:
    """A copy of all parameters as one vector (P,)."""
    return flat(objective.parameters).detach().clone()


@torch.no_grad()
def move_to(objective: Objective, point: Tensor) -> None:
    """Write a vector (P,) into the parameters."""
    for parameter, piece in zip(objective.parameters, pieces(point, objective.parameters), strict=True):
        parameter.copy_(piece)


@torch.no_grad()
def loss_at(objective: Objective, point: Tensor) -> float:
    """Move to a point and evaluate the loss there, without its gradient."""
    move_to(objective, point)
    return float(objective.loss())


def gradient_at(objective: Objective, point: Tensor) -> tuple[float, Tensor]:
    """Move to a point and evaluate the loss and its gradient (P,) there."""
    move_to(objective, point)
    loss, gradients = objective.gradient()
    return float(loss), flat(gradients)


def finite(what: str, tensor: Tensor) -> Tensor:
    """The tensor, unchanged; Diverged where the tensor holds nan or infinity."""
    if not bool(torch.isfinite(tensor).all()):
        raise Diverged(f"{what} is not finite")
    return tensor


def reduction_ratio(change: float, predicted: float, loss: float, dtype: torch.dtype) -> float:
    """Actual over predicted change of the loss; 1 where rounding errors hide both changes, 0 where the loss is nan."""
    rounding = 10 * torch.finfo(dtype).eps * abs(loss)
    if abs(change) <= rounding and abs(predicted) <= rounding:
        return 1.0
    ratio = change / predicted if predicted else 0.0
    return ratio if math.isfinite(ratio) else 0.0


def solved(what: str, operator: Operator, b: Tensor, **options: Any) -> CGResult:
    """Solve by conjugate gradients; Diverged where a product with ``what`` holds nan or infinity."""
    result = conjugate_gradients(operator.__matmul__, b, **options)
    if result.status == "not finite":
        raise Diverged(f"a product with {what} is not finite")
    return result


def backtracked(objective: Objective, start: Tensor, loss: float, step: Tensor, slope: float) -> tuple[float, float]:
    """The first t of 1, 1/2, 1/4, ... with f(w + t step) <= f(w) + 1e-4 t slope, and the loss at t = 1.

    The parameters move to w + t step. Where 20 halvings find no such t, t is zero and the parameters go back to
    ``start``.
    Source: Nocedal & Wright 2006, algorithm 3.1.
    """
    t = 1.0
    full = loss_at(objective, start + step)
    found = full
    while not found <= loss + 1e-4 * t * slope:
        t /= 2
        if t < 1e-6:
            move_to(objective, start)
            return 0.0, full
        found = loss_at(objective, start + t * step)
    return t, full
