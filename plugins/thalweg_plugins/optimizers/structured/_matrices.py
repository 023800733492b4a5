"""Steppers with a factor for each side of a matrix. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thalweg.contracts import StackedStepper, Stepper, StepReport
from thalweg.contracts.real import as_real, shaped
from thalweg.contracts.stacked import StackedNetwork, product
from thalweg_plugins.optimizers.flat import finite

if TYPE_CHECKING:
    from thalweg.contracts.costs import Counts
    from thalweg.contracts.objective import Objective


def as_matrix(tensor: Tensor, leading: int = 0) -> Tensor:
    """A tensor as a matrix (first, rest), without dimensions of 1. A vector or a number becomes a column (n, 1).

    A complex tensor becomes its real and imaginary parts, side by side. The first ``leading`` dimensions stay.
    """
    tensor = as_real(tensor)
    sizes = [size for size in tensor.shape[leading:] if size > 1]
    return tensor.reshape(*tensor.shape[:leading], sizes[0] if sizes else 1, -1)


class MatrixRule(ABC):
    """The directions of one network's matrices (m, n), or of the matrices (K, m, n) of K members.

    Args:
        members: the hyperparameters of the network, or of each of K members; one entry where all members share it.

    Raises:
        NotImplementedError: the members differ in a number of steps or in a size.
    """

    def __init__(self, members: Sequence[Mapping[str, Any]]) -> None:
        self.members = [dict(member) for member in members]
        self.h = self.members[0]
        for name in ("interval", "max_size"):
            if any(member[name] != self.h[name] for member in members):
                raise NotImplementedError(f"members of different {name} train one at a time")
        self.t = 0

    def number(self, like: Tensor, of: Callable[[Mapping[str, Any]], float]) -> Any:
        """A number computed from hyperparameters: a float, or a column (K, 1, 1) where members differ."""
        values = [of(member) for member in self.members]
        if len(values) == 1:
            return values[0]
        return torch.tensor(values, dtype=torch.float64).to(like).view(-1, 1, 1)

    @abstractmethod
    def start(self, g: Tensor) -> dict[str, Any]:
        """A parameter's state before its first step."""

    @abstractmethod
    def direction(self, g: Tensor, s: dict[str, Any], name: str, counts: Counts) -> Tensor:
        """The direction d of w <- w - lr d for the parameter ``name``, from its gradient (..., m, n) and its state."""

    def has_factor(self, g: Tensor) -> tuple[bool, bool]:
        """Whether the left and the right side get a factor: they are no longer than max_size."""
        m, n = g.shape[-2:]
        return m <= self.h["max_size"], n <= self.h["max_size"] and n > 1


class MatrixStepper(Stepper):
    """Steps each parameter separately, as a matrix with a separate state."""

    def __init__(self, rule: MatrixRule, module: nn.Module) -> None:
        self.rule = rule
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.states: dict[str, dict[str, Any]] = {}

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.rule.h["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        self.rule.h["lr"] = value

    @torch.no_grad()
    def step(self, objective: Objective) -> StepReport:
        """One step on the gradient of the current batch."""
        objective.backward()
        self.rule.t += 1
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            g = as_matrix(parameter.grad)
            if name not in self.states:
                self.states[name] = self.rule.start(g)
            direction = self.rule.direction(g, self.states[name], name, objective.counts)
            parameter.sub_(shaped(direction.reshape(-1), parameter), alpha=self.lr)
        return StepReport()

    def state_dict(self) -> dict[str, Any]:
        """The learning rate, the number of steps and each parameter's state."""
        return {"lr": self.lr, "t": self.rule.t, "states": self.states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        state = copy.deepcopy(state)
        self.lr, self.rule.t, self.states = state["lr"], state["t"], state["states"]


class StackedMatrixStepper(StackedStepper):
    """Steps the matrices of K members at once."""

    def __init__(self, rule: MatrixRule, module: StackedNetwork) -> None:
        self.rule = rule
        self.module = module
        self.states: dict[str, dict[str, Any]] = {}

    @property
    def lrs(self) -> list[float]:
        """The learning rate of each entry of hyperparameters."""
        return [float(member["lr"]) for member in self.rule.members]

    @lrs.setter
    def lrs(self, values: list[float]) -> None:
        for member, value in zip(self.rule.members, values, strict=True):
            member["lr"] = value

    @torch.no_grad()
    def step(self, objective: Objective) -> StepReport:
        """One step on the gradients of the members' batches."""
        objective.backward()
        self.rule.t += 1
        for name, piece in self.module.pieces.items():
            if piece.gradient is None:
                continue
            g = as_matrix(piece.gradient, leading=1)
            if name not in self.states:
                self.states[name] = self.rule.start(g)
            direction = self.rule.direction(g, self.states[name], name, objective.counts)
            lr = self.rule.number(g, lambda h: float(h["lr"]))
            piece.value.sub_((direction * lr).view(piece.value.shape))
        return StepReport()

    def state_dict(self) -> dict[str, Any]:
        """The learning rates, the number of steps and each parameter's state."""
        return {"lrs": self.lrs, "t": self.rule.t, "states": self.states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        state = copy.deepcopy(state)
        self.lrs, self.rule.t, self.states = state["lrs"], state["t"], state["states"]


def stacked_matrices(
    rule: Callable[[Sequence[Mapping[str, Any]]], MatrixRule], module: nn.Module, members: Sequence[Mapping[str, Any]]
) -> StackedMatrixStepper:
    """A stepper for K members. Each of D entries of hyperparameters stands for K/D neighbours."""
    assert isinstance(module, StackedNetwork)
    every = members if len(members) == 1 else [one for one in members for _ in range(module.members // len(members))]
    return StackedMatrixStepper(rule(every), module)


def times(one: Tensor, other: Tensor) -> Tensor:
    """The product of two matrices, or of each member's two."""
    return one @ other if one.dim() == 2 else product(one, other)


def eigenvectors(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, rising, and eigenvectors of one matrix or of each member's, in float64.

    LAPACK takes one matrix after the other in any case. A call for each gives each the same alignment, and equal bits.
    """
    if matrices.dim() == 2:
        found = torch.linalg.eigh(matrices.double())
        return found[0], found[1]
    pairs = [torch.linalg.eigh(matrix.double()) for matrix in matrices]
    return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])


def orthonormal(matrices: Tensor) -> Tensor:
    """Q of the QR decomposition of one matrix or of each member's."""
    if matrices.dim() == 2:
        q: Tensor = torch.linalg.qr(matrices)[0]
        return q
    return torch.stack([torch.linalg.qr(matrix.contiguous())[0] for matrix in matrices])


def gram(g: Tensor, side: int) -> Tensor:
    """G G' (m, m) on side 0, G' G (n, n) on side 1."""
    return times(g, g.mT) if side == 0 else times(g.mT, g)


def finite_members(factor: Tensor, name: str) -> tuple[Tensor, Tensor | None]:
    """A factor that can be decomposed, and which members have none: they go on with nan, and diverge alone.

    Raises:
        Diverged: a single network's factor is not finite.
    """
    if factor.dim() == 2:
        return finite(f"a factor of {name}", factor), None
    lost = ~factor.isfinite().all(-1).all(-1)
    if not bool(lost.any()):
        return factor, None
    identity = torch.eye(factor.shape[-1]).to(factor)
    return torch.where(lost.view(-1, 1, 1), identity, factor), lost.view(-1, 1, 1)


def marked(result: Tensor, lost: Tensor | None) -> Tensor:
    """The result, with nan for members that have none."""
    return result if lost is None else result.masked_fill(lost, float("nan"))


class ShampooRule(MatrixRule):
    """See ``shampoo``."""

    def start(self, g: Tensor) -> dict[str, Any]:
        """Factors eps I, and no momentum."""
        sides = [side for side, has in enumerate(self.has_factor(g)) if has]
        eps = self.number(g, lambda h: float(h["eps"]))
        state: dict[str, Any] = {"momentum": torch.zeros_like(g)}
        if sides:
            state["factors"] = {
                side: (torch.eye(g.shape[side - 2]).to(g).expand(*g.shape[:-2], -1, -1) * eps) for side in sides
            }
        else:
            state["squares"] = torch.zeros_like(g) + eps
        return state

    def direction(self, g: Tensor, s: dict[str, Any], name: str, counts: Counts) -> Tensor:
        """L^-1/4 M R^-1/4."""
        s["momentum"] = s["momentum"] * self.number(g, lambda h: float(h["momentum"])) + g
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
            direction = times(root, direction) if side == 0 else times(direction, root)
        return direction

    def _power(self, factor: Tensor, power: float, name: str) -> Tensor:
        """factor^power. Eigenvalues below eps are rounding errors, and are raised to eps."""
        given, lost = finite_members(factor, name)
        values, vectors = eigenvectors(given)
        eps = self.number(values, lambda h: float(h["eps"]))
        floored = values.clamp(min=eps.squeeze(-1) if isinstance(eps, Tensor) else eps)
        # row by row: a kernel computes the numbers that are left over at the end in another way
        powers = floored**power if floored.dim() == 1 else torch.stack([row**power for row in floored])
        root = times(vectors * powers.unsqueeze(-2), vectors.mT)
        return marked(root.to(factor), lost)


class SOAPRule(MatrixRule):
    """See ``soap``."""

    def start(self, g: Tensor) -> dict[str, Any]:
        """Moments and factors of zero."""
        sides = [side for side, has in enumerate(self.has_factor(g)) if has and g.shape[-1] > 1]
        return {
            "m": torch.zeros_like(g),
            "v": torch.zeros_like(g),
            "factors": {side: g.new_zeros(*g.shape[:-2], g.shape[side - 2], g.shape[side - 2]) for side in sides},
            "bases": {},
        }

    def direction(self, g: Tensor, s: dict[str, Any], name: str, counts: Counts) -> Tensor:
        """Adam's direction in the eigenbasis, rotated back. Then update the factors and, if due, the bases."""
        t = self.t - 1
        beta1, rest1, beta2, rest2, eps = (
            self.number(g, of)
            for of in (
                lambda h: float(h["beta1"]), lambda h: 1 - float(h["beta1"]),
                lambda h: float(h["beta2"]), lambda h: 1 - float(h["beta2"]), lambda h: float(h["eps"]),
            )
        )  # fmt: skip
        direction = torch.zeros_like(g)
        if t > 0:
            s["m"] = beta1 * s["m"] + rest1 * g
            s["v"] = beta2 * s["v"] + rest2 * self._rotated(g, s).square()
            m_hat = self._rotated(s["m"], s) / self.number(g, lambda h: 1 - float(h["beta1"]) ** t)
            v_hat = s["v"] / self.number(g, lambda h: 1 - float(h["beta2"]) ** t)
            direction = self._rotated(m_hat / (v_hat.sqrt() + eps), s, back=True)
        factors = s["factors"]
        for side in factors:
            factors[side] = beta2 * factors[side] + rest2 * gram(g, side)
        if t % self.h["interval"] == 0:
            for side, factor in factors.items():
                s["bases"][side] = self._basis(factor, s["bases"].get(side), name)
                counts.factor_inversions += 1
        return direction

    @staticmethod
    def _basis(factor: Tensor, basis: Tensor | None, name: str) -> Tensor:
        """The basis after one step of power iteration; at first the eigenvectors, in order of falling eigenvalues."""
        given, lost = finite_members(factor, name)
        found = eigenvectors(given)[1].flip(-1).to(factor) if basis is None else orthonormal(times(given, basis))
        return marked(found, lost)

    @staticmethod
    def _rotated(matrix: Tensor, s: dict[str, Any], back: bool = False) -> Tensor:
        """Q_L' G Q_R, or back: Q_L G Q_R'. The basis of a side without factor is the identity."""
        for side, basis in s["bases"].items():
            turn = basis if back else basis.mT
            matrix = times(turn, matrix) if side == 0 else times(matrix, turn.mT)
        return matrix
