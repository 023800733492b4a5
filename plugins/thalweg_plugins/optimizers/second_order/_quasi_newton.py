"""The steppers of BFGS and L-BFGS. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.contracts import StepReport
from thalweg.contracts.objective import Objective
from thalweg.curvature import Hessian
from thalweg.errors import Diverged
from thalweg_plugins.optimizers.flat import FlatStepper, finite, gradient_at, move_to, position
from thalweg_plugins.optimizers.second_order._wolfe import Point, strong_wolfe


def two_loop(gradient: Any, pairs: Sequence[tuple[Any, Any]]) -> Any:
    """H g for the L-BFGS matrix H of the pairs (s, y), the oldest first; g itself without pairs.

    H begins as s'y / y'y I with the newest pair. Vectors may be of any type with ``@``, ``*`` and ``-``, such as
    tensors or NumPy arrays of multiprecision numbers. Source: Nocedal & Wright 2006, algorithm 7.4 and equation 7.20.
    """
    if not pairs:
        return gradient
    q = gradient
    alphas = []
    for s, y in reversed(pairs):
        alpha = (s @ q) / (s @ y)
        q = q - alpha * y
        alphas.append(alpha)
    s, y = pairs[-1]
    r = (s @ y) / (y @ y) * q
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r = r + (alpha - (y @ r) / (s @ y)) * s
    return r


def updated_inverse(h: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """H <- (I - rho s y') H (I - rho y s') + rho s s', rho = 1 / s'y, for a symmetric H (P, P).

    Source: Nocedal & Wright 2006, equation 6.17, multiplied out.
    """
    rho = 1 / (s @ y)
    hy = h @ y
    cross = torch.outer(s, hy)
    return h - rho * (cross + cross.T) + (rho + rho**2 * (y @ hy)) * torch.outer(s, s)


@dataclass(frozen=True)
class Here:
    """A point, its loss and its gradient, and the Hessian for exact steps."""

    point: Tensor
    loss: float
    gradient: Tensor
    hessian: Hessian | None = None


class QuasiNewtonStepper(FlatStepper):
    """Iterations w <- w + t d with d = -H g. Each updates H from the pair s = t d and the gradient's change y.

    Both gradients of a pair come from the step's batch. H stays positive definite, since a pair is skipped where s'y is
    at most sqrt(eps) ||s|| ||y||, with the machine precision eps.
    """

    iterations = 1

    def __init__(self, hyperparameters: Mapping[str, Any]) -> None:
        super().__init__(hyperparameters)
        self.exact = hyperparameters["line_search"] == "exact"

    @abstractmethod
    def times_inverse(self, gradient: Tensor) -> Tensor:
        """H g."""

    @abstractmethod
    def update(self, s: Tensor, y: Tensor) -> None:
        """Update H by a pair."""

    @abstractmethod
    def forget(self) -> None:
        """Reset H to I."""

    @property
    @abstractmethod
    def fresh(self) -> bool:
        """Whether H is still I. Then -H g has no natural length."""

    def step(self, objective: Objective) -> StepReport:
        """Make the iterations of one step on one batch."""
        here = self._look(objective, position(objective), self.exact)
        info: dict[str, float] = {}
        for _ in range(self.iterations):
            here = self._iterate(objective, here, info)
        return StepReport(info)

    def _look(self, objective: Objective, point: Tensor, curved: bool) -> Here:
        if not curved:
            return Here(point, *gradient_at(objective, point))
        move_to(objective, point)
        hessian = Hessian(objective)
        return Here(point, float(hessian.loss), hessian.gradient, hessian)

    def _iterate(self, objective: Objective, here: Here, info: dict[str, float]) -> Here:
        g = finite("the gradient", here.gradient)
        d = finite("the direction", -self.times_inverse(g))
        slope = float(g @ d)
        if not math.isfinite(slope):
            raise Diverged("the slope along the direction is not finite")
        if not slope < 0:
            if float(g.norm()) == 0:
                return here
            self.forget()  # rounding has spoilt H
            d, slope = -g, -float(g @ g)
        there = self._search(objective, here, d, slope, info)
        s, y = there.point - here.point, there.gradient - g
        enough = torch.finfo(s.dtype).eps ** 0.5 * float(s.norm()) * float(y.norm())
        skipped = not float(s @ y) > enough
        if not skipped:
            self.update(s, y)
        info["skipped"] = info.get("skipped", 0.0) + skipped
        return there

    def _search(self, objective: Objective, here: Here, d: Tensor, slope: float, info: dict[str, float]) -> Here:
        if here.hessian is not None:
            curvature = float(d @ (here.hessian @ d))
            if curvature > 0:
                info["step_length"] = -self.lr * slope / curvature
                return self._look(objective, here.point + info["step_length"] * d, True)

        def phi(alpha: float) -> Point:
            there = self._look(objective, here.point + alpha * d, False)
            return Point(alpha, there.loss, float(there.gradient @ d), there)

        first = self.lr * (min(1.0, 1 / float(d.norm())) if self.fresh else 1.0)
        found = strong_wolfe(phi, Point(0.0, here.loss, slope, here), first)
        there: Here = found.point.payload
        move_to(objective, there.point)
        if not found.satisfied:
            self.forget()
        info["step_length"] = found.point.alpha
        info["line_search_failed"] = info.get("line_search_failed", 0.0) + (not found.satisfied)
        return self._look(objective, there.point, True) if self.exact else there


class BFGSStepper(QuasiNewtonStepper):
    """H as a dense matrix."""

    def times_inverse(self, gradient: Tensor) -> Tensor:
        """H g."""
        return gradient if self.fresh else self.state["inverse"] @ gradient

    def update(self, s: Tensor, y: Tensor) -> None:
        """Update H by the BFGS formula. The first update starts from I, or from the scaled identity."""
        if self.fresh:
            scale = (s @ y) / (y @ y) if self.h["initial_scaling"] else 1.0
            self.state["inverse"] = torch.eye(len(s), dtype=s.dtype, device=s.device) * scale
        self.state["inverse"] = updated_inverse(self.state["inverse"], s, y)

    def forget(self) -> None:
        """Drop the matrix."""
        self.state.pop("inverse", None)

    @property
    def fresh(self) -> bool:
        """Whether there is no matrix yet."""
        return "inverse" not in self.state


class LBFGSStepper(QuasiNewtonStepper):
    """H as the last ``history_size`` pairs."""

    def __init__(self, hyperparameters: Mapping[str, Any]) -> None:
        super().__init__(hyperparameters)
        self.iterations = hyperparameters["max_iter"]
        self.forget()

    def times_inverse(self, gradient: Tensor) -> Tensor:
        """H g by the two-loop recursion."""
        product: Tensor = two_loop(gradient, self.state["pairs"])
        return product

    def update(self, s: Tensor, y: Tensor) -> None:
        """Keep the newest ``history_size`` pairs."""
        self.state["pairs"] = [*self.state["pairs"], (s, y)][-self.h["history_size"] :]

    def forget(self) -> None:
        """Drop the pairs."""
        self.state["pairs"] = []

    @property
    def fresh(self) -> bool:
        """Whether there are no pairs yet."""
        return not self.state["pairs"]
