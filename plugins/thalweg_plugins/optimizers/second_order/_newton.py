"""Steppers with the Hessian and the GGN matrix. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.contracts import StepReport
from thalweg.contracts.derivatives import math_attention
from thalweg.contracts.objective import Objective
from thalweg.curvature import GGN, CGResult, Hessian, flat
from thalweg_plugins.optimizers.flat import (
    FlatStepper,
    backtracked,
    finite,
    loss_at,
    move_to,
    position,
    reduction_ratio,
    solved,
)

ATTEMPTS = 25
"""Dampings to try in one step; each is four times the damping before."""


class NewtonStepper(FlatStepper):
    """Newton's method by the eigendecomposition of a dense Hessian, with damping by Levenberg and Marquardt."""

    def __init__(self, hyperparameters: Mapping[str, Any]) -> None:
        super().__init__(hyperparameters)
        self.state["damping"] = hyperparameters["damping"]

    def step(self, objective: Objective) -> StepReport:
        """Raise the damping until the step lowers the loss. Take no step where every damping raises the loss."""
        hessian = Hessian(objective)
        start, loss, g = position(objective), float(hessian.loss), finite("the gradient", hessian.gradient)
        matrix = finite("the Hessian", hessian.dense()).double()
        objective.counts.factor_inversions += 1
        values, vectors = torch.linalg.eigh(matrix)
        lowest, highest = float(values[0]), float(values.abs().max())
        # an eigenvalue below the rounding errors of the Hessian may have either sign
        rounding = 10 * torch.finfo(g.dtype).eps * highest
        damping = max(self.state["damping"], max(0.0, -lowest) + max(self.h["delta"], rounding))
        along = vectors.T @ g.double()
        ratio = 0.0
        for _ in range(ATTEMPTS):
            coefficients = -self.lr * along / (values + damping)
            predicted = float(along @ coefficients + 0.5 * (values * coefficients) @ coefficients)
            change = loss_at(objective, start + (vectors @ coefficients).to(g)) - loss
            ratio = reduction_ratio(change, predicted, loss, g.dtype)
            if ratio > 1e-4:
                break
            damping *= 4
        else:
            move_to(objective, start)
            damping = self.state["damping"]  # rounding refused the steps, so the damping stays
        self.state["damping"] = damping / 4 if ratio > 0.75 else damping * 4 if 1e-4 < ratio < 0.25 else damping
        return StepReport(
            {
                "damping": damping,
                "lambda_min": lowest,
                "indefinite": float(lowest < -rounding),
                "ratio": ratio,
                "accepted": float(ratio > 1e-4),
            }
        )


class NewtonCGStepper(FlatStepper):
    """Line-search Newton-CG, which needs only products with the Hessian."""

    def step(self, objective: Objective) -> StepReport:
        """Truncated conjugate gradients, then backtracking."""
        hessian = Hessian(objective)
        start, loss = position(objective), float(hessian.loss)
        g = finite("the gradient", hessian.gradient)
        found = solved(
            "the Hessian",
            hessian,
            -g,
            tolerance=min(0.5, float(g.norm()) ** 0.5),
            max_iterations=self.h["max_iterations"],
            damping=self.h["damping"],
        )
        first = found.direction is not None and found.iterations == 1
        # negative curvature along the gradient: step along the negative gradient
        d = -g if first else found.solution
        t, _ = backtracked(objective, start, loss, self.lr * d, self.lr * float(g @ d))
        info = {
            "cg_iterations": float(found.iterations),
            "negative_curvature": float(found.direction is not None),
            "step_length": self.lr * t,
        }
        if found.direction is not None and t == 1 and self.h["follow"]:
            info["followed"] = self._follow(objective, start + self.lr * d, self.lr * found.direction)
        return StepReport(info)

    def _follow(self, objective: Objective, start: Tensor, d: Tensor) -> float:
        """Step by t d from ``start``, and return t.

        If t = 1 lowers the loss, t is doubled for as long as the loss falls. Otherwise t is halved until the loss
        falls; after 20 halvings t is zero.
        """
        value = loss_at(objective, start)
        t, reached = 1.0, loss_at(objective, start + d)
        if reached < value:
            while t < 1e6 and (further := loss_at(objective, start + 2 * t * d)) < reached:
                t, reached = 2 * t, further
        else:
            while t > 1e-6 and not reached < value:
                t /= 2
                reached = loss_at(objective, start + t * d)
            t = t if reached < value else 0.0
        move_to(objective, start + t * d)
        return t


class GaussNewtonCGStepper(FlatStepper):
    """Gauss-Newton by conjugate gradients, with damping by Levenberg and Marquardt."""

    def __init__(self, hyperparameters: Mapping[str, Any]) -> None:
        super().__init__(hyperparameters)
        self.state["damping"] = hyperparameters["damping"]

    def step(self, objective: Objective) -> StepReport:
        """Conjugate gradients, backtracking, and the next damping from the ratio of actual to predicted change."""
        with math_attention():
            outputs = objective.outputs()
        loss_tensor, gradients = objective.gradient(outputs)
        start, loss, g = position(objective), float(loss_tensor), finite("the gradient", flat(gradients))
        damping = self.state["damping"]
        found = self._solve(GGN(objective, outputs), g)
        d = found.solution
        # d'Gd from the residual r = -g - (G + damping I) d
        model = float(0.5 * d @ (g - found.residual) - 0.5 * damping * d @ d)
        slope = float(g @ d)
        predicted = self.lr * slope + self.lr**2 * (model - slope)
        t, full = backtracked(objective, start, loss, self.lr * d, self.lr * slope)
        ratio = reduction_ratio(full - loss, predicted, loss, g.dtype)
        if ratio > 0.75:
            self.state["damping"] = max(damping * 2 / 3, self.h["min_damping"])
        elif ratio < 0.25:
            self.state["damping"] = damping * 3 / 2
        if self.h["warm_start"]:
            self.state["last"] = d
        return StepReport(
            {"damping": damping, "ratio": ratio, "cg_iterations": float(found.iterations), "step_length": self.lr * t}
        )

    def _solve(self, ggn: GGN, g: Tensor) -> CGResult:
        options = {
            "tolerance": self.h["tolerance"],
            "max_iterations": self.h["max_iterations"],
            "damping": self.state["damping"],
        }
        if "last" in self.state:
            start = self.h["warm_start"] * self.state["last"]
            found = solved("the GGN matrix", ggn, -g, start=start, **options)
            # the damped model's change is half of d'(g - r); a warm start may end above zero
            if float(found.solution @ (g - found.residual)) < 0:
                return found
        return solved("the GGN matrix", ggn, -g, **options)
