"""The stepper of natural gradient methods. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.contracts import StepReport
from thalweg.contracts.derivatives import math_attention
from thalweg.contracts.objective import Objective
from thalweg.curvature import OutputOperator, flat
from thalweg.errors import Diverged
from thalweg_plugins.optimizers.flat import FlatStepper, finite, move_to, position, solved

MakeFisher = Callable[[Objective, Tensor], OutputOperator]

EVALUATIONS = 40
"""Forward passes that a step may take to meet its budget."""


class NaturalGradientStepper(FlatStepper):
    """w <- w - lr (F + damping I)^-1 g, or a step in this direction whose length meets a budget of KL divergence.

    Args:
        fisher: makes F for an objective and its outputs.
        dense: True builds and factorizes F; False uses products with F.
        hyperparameters: the optimizer's hyperparameters.
    """

    def __init__(self, fisher: MakeFisher, dense: bool, hyperparameters: Mapping[str, Any]) -> None:
        super().__init__(hyperparameters)
        self.fisher = fisher
        self.dense = dense

    def step(self, objective: Objective) -> StepReport:
        """One step. Its gradient and its Fisher matrix share a forward pass."""
        with math_attention():
            outputs = objective.outputs()
        _, gradients = objective.gradient(outputs)
        g = finite("the gradient", flat(gradients))
        operator = self.fisher(objective, outputs)
        info: dict[str, float] = {}
        d = self._dense(operator, g) if self.dense else self._by_products(operator, g, info)
        start = position(objective)
        if not self.h["kl"]:
            move_to(objective, start + self.lr * d)
            return StepReport(info)
        t, info["kl"] = self._within_budget(objective, outputs.detach(), start, d, first=self._guess(operator, d))
        move_to(objective, start + t * d)
        return StepReport({**info, "step_length": t})

    def _dense(self, operator: OutputOperator, g: Tensor) -> Tensor:
        matrix = finite("the Fisher matrix", operator.dense()).double()
        matrix.diagonal().add_(self.h["damping"])
        operator.objective.counts.factor_inversions += 1
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if int(failed):
            raise Diverged("the damped Fisher matrix is not positive definite to rounding: a larger damping helps")
        return -torch.cholesky_solve(g.double()[:, None], factor)[:, 0].to(g)

    def _by_products(self, operator: OutputOperator, g: Tensor, info: dict[str, float]) -> Tensor:
        found = solved(
            "the Fisher matrix",
            operator,
            -g,
            tolerance=self.h["tolerance"],
            max_iterations=self.h["max_iterations"],
            damping=self.h["damping"],
        )
        info["cg_iterations"] = float(found.iterations)
        return found.solution

    def _guess(self, operator: OutputOperator, d: Tensor) -> float:
        """t with t^2 d'(F + damping I)d / 2 = kl, by the divergence to second order. Damping serves for singular F."""
        squared = float(d @ (operator @ d) + self.h["damping"] * d @ d)
        return math.sqrt(2 * self.h["kl"] / squared) if squared > 0 else 1.0

    def _within_budget(
        self, objective: Objective, outputs: Tensor, start: Tensor, d: Tensor, first: float
    ) -> tuple[float, float]:
        """t and the divergence at t, which is within 1% of the budget.

        The divergence is below the budget where no t up to 1024 times ``first`` meets it. The search narrows a bracket,
        first by the divergence's growth with t^2, then by bisection.
        """
        budget = self.h["kl"]
        low, below, high, t = 0.0, 0.0, 1024 * first, first
        for evaluation in range(EVALUATIONS):
            divergence = self._divergence(objective, outputs, start + t * d)
            if abs(divergence - budget) <= 0.009 * budget:
                return t, divergence
            if divergence < budget:
                low, below = t, divergence
            else:
                high = t  # too far, or nan
            guess = t * math.sqrt(budget / divergence) if 0 < divergence < math.inf else math.nan
            t = guess if low < guess < high and evaluation < 5 else (low + high) / 2
        return low, below

    @torch.no_grad()
    def _divergence(self, objective: Objective, outputs: Tensor, point: Tensor) -> float:
        """The batch's mean KL(p at ``outputs`` || p at ``point``), in float64."""
        move_to(objective, point)
        there = objective.outputs()
        return float(objective.output_loss.kl(outputs.double(), there.double()).mean())
