"""Counts of the evaluations of an objective, what each of them costs, and the work that is the sum of the costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

KINDS = ("forward", "gradient", "jvp", "vjp", "hvp", "ggnvp")
"""The kinds of evaluations, as fields of ``Costs``."""
EVALUATIONS = ("backward", "jvp", "vjp", "hvp", "ggnvp")
"""The counts of examples that evaluations besides a forward pass have taken: what work is computed from."""


@dataclass(slots=True)
class Counts:
    """Counts of the evaluations of an objective so far."""

    examples: int = 0
    """Examples pushed through the module to evaluate a loss."""
    gradient_evaluations: int = 0
    """Gradients of the loss on a batch of whatever size."""
    curvature_products: int = 0
    """Products of a Hessian, GGN or Fisher matrix with one vector."""
    factor_inversions: int = 0
    """Matrices inverted or decomposed: the factors of K-FAC and Shampoo, a dense Hessian. Optimizers count them."""
    backward: int = 0
    """Examples in backward passes from the loss to the parameters. With its forward pass, each is a gradient."""
    jvp: int = 0
    """Products J v with the Jacobian of the outputs, times the examples of the batch."""
    vjp: int = 0
    """Products J'u, times the examples of the batch: backward passes from any gradients in the outputs."""
    hvp: int = 0
    """Products H v with the Hessian of the loss, times the examples of the batch."""
    ggnvp: int = 0
    """Products with a GGN or Fisher matrix, times the examples of the batch."""

    def add_gradient(self, examples: int) -> None:
        """Count the backward pass of a gradient; its forward pass counts where it is made."""
        self.gradient_evaluations += 1
        self.backward += examples

    def add_products(self, kind: Literal["jvp", "hvp", "ggnvp"], products: int, examples: int) -> None:
        """Count products with a matrix of curvature, or J v as the half of one, on a batch of so many examples."""
        self.curvature_products += products
        setattr(self, kind, getattr(self, kind) + products * examples)

    def add_pull(self, examples: int) -> None:
        """Count a backward pass from gradients in the outputs, which counts as a gradient too."""
        self.gradient_evaluations += 1
        self.vjp += examples


@dataclass(frozen=True)
class Costs:
    """What each kind of evaluation of one example costs, all in one unit, which may be any.

    A cost is the arithmetic that the mathematical operation needs, whatever an implementation spends on it. So a trial
    alone and the same trial in a stack have equal work.
    """

    forward: float
    """The loss."""
    gradient: float
    """The loss and its gradient in the parameters. A backward pass costs gradient - forward."""
    jvp: float
    """J v, with J the Jacobian of the outputs in the parameters, at a point whose outputs are known."""
    vjp: float
    """J'u, likewise."""
    hvp: float
    """H v, with H the Hessian of the loss, at a point whose gradient is known."""
    ggnvp: float
    """G v, with G the generalised Gauss-Newton or a Fisher matrix, at a point whose outputs are known."""
    source: str = "declared"
    """Where the costs come from: ``declared``, ``counted``, or why they could not be counted."""

    def __post_init__(self) -> None:
        for kind in KINDS:
            cost = getattr(self, kind)
            if not (math.isfinite(cost) and cost >= 0):
                raise ValueError(f"costs: {kind} = {cost} is no cost: give a number of zero or more")
            object.__setattr__(self, kind, float(cost))
        if not 0 < self.gradient >= self.forward:
            raise ValueError(
                f"costs: gradient = {self.gradient} must be above zero, and no smaller than forward = {self.forward}, "
                "which is part of it"
            )

    @classmethod
    def of_products(cls, forward: float, gradient: float, frozen: float = 0.0, source: str = "declared") -> Costs:
        """The costs of a network whose arithmetic is products of two things: matrices, or images and kernels.

        A product takes one product forward. If s operations are in products with one factor that depends on the
        parameters, and d in products with two, then a backward pass, J v and J'u take s + 2 d each, and H v takes
        2 s + 6 d (Pearlmutter 1994). G v is J v, then J'u.

        Args:
            forward: the loss, s + d + frozen.
            gradient: the loss and its gradient, 2 s + 3 d + frozen.
            frozen: operations of the loss in products that do not depend on the parameters.
            source: see ``source``.

        >>> Costs.of_products(1, 3).hvp
        6.0
        """
        backward, active = gradient - forward, forward - frozen
        two = min(max(backward - active, 0.0), active)
        one = active - two
        return cls(
            forward=float(forward),
            gradient=float(gradient),
            jvp=float(one + 2 * two),
            vjp=float(one + 2 * two),
            hvp=float(2 * one + 6 * two),
            ggnvp=float(2 * one + 4 * two),
            source=source,
        )

    def work(self, counts: Counts) -> float:
        """The work of everything that was counted, in units of the gradient of one example.

        The gradients of n examples are n, exactly.
        """
        return (
            self.forward * counts.examples
            + (self.gradient - self.forward) * counts.backward
            + self.jvp * counts.jvp
            + self.vjp * counts.vjp
            + self.hvp * counts.hvp
            + self.ggnvp * counts.ggnvp
        ) / self.gradient


DECLARED = Costs.of_products(forward=1, gradient=3)
"""The costs where nothing is counted: those of a chain of many equal layers z = W a, where s is zero."""
