"""Steppers with a factor for each side of a matrix. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Stepper, StepReport
from thalweg.contracts.real import as_real, shaped
from thalweg_plugins.optimizers.flat import finite

if TYPE_CHECKING:
    from thalweg.contracts.objective import Counts, Objective


def as_matrix(tensor: Tensor) -> Tensor:
    """A tensor as a matrix (first, rest), without dimensions of 1. A vector or a number becomes a column (n, 1).

    A complex tensor becomes its real and imaginary parts, side by side.
    """
    tensor = as_real(tensor)
    sizes = [size for size in tensor.shape if size > 1]
    return tensor.reshape(sizes[0] if sizes else 1, -1)


class MatrixStepper(Stepper):
    """Steps each parameter separately, as a matrix with a separate state."""

    def __init__(self, module: nn.Module, hyperparameters: Mapping[str, Any]) -> None:
        self.h = dict(hyperparameters)
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.states: dict[str, dict[str, Any]] = {}
        self.t = 0

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.h["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        self.h["lr"] = value

    @torch.no_grad()
    def step(self, objective: Objective) -> StepReport:
        """One step on the gradient of the current batch."""
        objective.backward()
        self.t += 1
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            g = as_matrix(parameter.grad)
            if name not in self.states:
                self.states[name] = self.start(g)
            direction = self.direction(g, self.states[name], name, objective.counts)
            parameter.sub_(shaped(direction.reshape(-1), parameter), alpha=self.h["lr"])
        return StepReport()

    @abstractmethod
    def start(self, g: Tensor) -> dict[str, Any]:
        """A parameter's state before its first step."""

    @abstractmethod
    def direction(self, g: Tensor, s: dict[str, Any], name: str, counts: Counts) -> Tensor:
        """The direction d of w <- w - lr d for the parameter ``name``, from its gradient (m, n) and its state."""

    def has_factor(self, g: Tensor) -> tuple[bool, bool]:
        """Whether the left and the right side get a factor: they are no longer than max_size."""
        m, n = g.shape
        return m <= self.h["max_size"], n <= self.h["max_size"] and n > 1

    def state_dict(self) -> dict[str, Any]:
        """The learning rate, the number of steps and each parameter's state."""
        return {"lr": self.h["lr"], "t": self.t, "states": self.states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        state = copy.deepcopy(state)
        self.h["lr"], self.t, self.states = state["lr"], state["t"], state["states"]


def gram(g: Tensor, side: int) -> Tensor:
    """G G' (m, m) on side 0, G' G (n, n) on side 1."""
    return g @ g.T if side == 0 else g.T @ g


class ShampooStepper(MatrixStepper):
    """See ``shampoo``."""

    def start(self, g: Tensor) -> dict[str, Any]:
        """Factors eps I, and no momentum."""
        sides = [side for side, has in enumerate(self.has_factor(g)) if has]
        state: dict[str, Any] = {"momentum": torch.zeros_like(g)}
        if sides:
            state["factors"] = {side: self.h["eps"] * torch.eye(g.shape[side]).to(g) for side in sides}
        else:
            state["squares"] = torch.full_like(g, self.h["eps"])
        return state

    def direction(self, g: Tensor, s: dict[str, Any], name: str, counts: Counts) -> Tensor:
        """L^-1/4 M R^-1/4."""
        s["momentum"] = self.h["momentum"] * s["momentum"] + g
        if "squares" in s:
            s["squares"] = s["squares"] + g.square()
            direction: Tensor = s["momentum"] / s["squares"].sqrt()
            return direction
        factors = s["factors"]
        for side in factors:
            factors[side] = factors[side] + gram(g, side)
        if self.t <= self.h["interval"] or self.t % self.h["interval"] == 0:
            power = -1 / (2 * len(factors))
            s["roots"] = {side: self._power(factor, power, name) for side, factor in factors.items()}
            counts.factor_inversions += len(factors)
        direction = s["momentum"]
        for side, root in s["roots"].items():
            direction = root @ direction if side == 0 else direction @ root
        return direction

    def _power(self, factor: Tensor, power: float, name: str) -> Tensor:
        """factor^power. Eigenvalues below eps are rounding errors, and are raised to eps."""
        values, vectors = torch.linalg.eigh(finite(f"a factor of {name}", factor).double())
        root: Tensor = (vectors * values.clamp(min=self.h["eps"]) ** power) @ vectors.T
        return root.to(factor)


class SOAPStepper(MatrixStepper):
    """See ``soap``."""

    def start(self, g: Tensor) -> dict[str, Any]:
        """Moments and factors of zero."""
        sides = [side for side, has in enumerate(self.has_factor(g)) if has and g.shape[1] > 1]
        return {
            "m": torch.zeros_like(g),
            "v": torch.zeros_like(g),
            "factors": {side: torch.zeros(g.shape[side], g.shape[side]).to(g) for side in sides},
            "bases": {},
        }

    def direction(self, g: Tensor, s: dict[str, Any], name: str, counts: Counts) -> Tensor:
        """Adam's direction in the eigenbasis, rotated back. Then update the factors and, if due, the bases."""
        beta1, beta2, t = self.h["beta1"], self.h["beta2"], self.t - 1
        direction = torch.zeros_like(g)
        if t > 0:
            s["m"] = beta1 * s["m"] + (1 - beta1) * g
            s["v"] = beta2 * s["v"] + (1 - beta2) * self._rotated(g, s).square()
            m_hat = self._rotated(s["m"], s) / (1 - beta1**t)
            v_hat = s["v"] / (1 - beta2**t)
            direction = self._rotated(m_hat / (v_hat.sqrt() + self.h["eps"]), s, back=True)
        factors = s["factors"]
        for side in factors:
            factors[side] = beta2 * factors[side] + (1 - beta2) * gram(g, side)
        if t % self.h["interval"] == 0:
            for side, factor in factors.items():
                s["bases"][side] = self._basis(finite(f"a factor of {name}", factor), s["bases"].get(side))
                counts.factor_inversions += 1
        return direction

    @staticmethod
    def _basis(factor: Tensor, basis: Tensor | None) -> Tensor:
        """The basis after one step of power iteration; at first the eigenvectors, in order of falling eigenvalues."""
        if basis is None:
            basis = torch.linalg.eigh(factor.double())[1].flip(1).to(factor)
        else:
            basis = torch.linalg.qr(factor @ basis)[0]
        return basis

    @staticmethod
    def _rotated(matrix: Tensor, s: dict[str, Any], back: bool = False) -> Tensor:
        """Q_L' G Q_R, or back: Q_L G Q_R'. The basis of a side without factor is the identity."""
        for side, basis in s["bases"].items():
            turn = basis if back else basis.T
            matrix = turn @ matrix if side == 0 else matrix @ turn.T
        return matrix
