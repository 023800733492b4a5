"""BFGS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.options import MAX_PARAMETERS

if TYPE_CHECKING:
    from torch import nn

LINE_SEARCH = Hyperparameter(
    "line_search",
    "strong-wolfe",
    ("strong-wolfe", "exact"),
    "t by the strong Wolfe conditions (c1 = 1e-4, c2 = 0.9), or -g'd / d'(Hessian)d, which is exact on quadratics",
)


class BFGS(Optimizer):
    """Quasi-Newton with a dense approximation H of the inverse Hessian, H = I at first; one iteration a step.

    Both gradients of a pair s, y come from the same batch; still, pairs of small batches disagree with each other, so
    it is meant for full or large batches. A pair with too little curvature s'y is skipped (``skipped``) and H stays
    positive definite. Where the line search finds no point in 25 evaluations, the lowest seen is taken and H starts
    anew (``line_search_failed``). ``exact`` takes the minimiser of the quadratic model along d, by one Hessian product:
    off quadratics nothing makes the loss fall; where the curvature along d is not positive it searches by Wolfe's
    conditions. ``lr`` is the first trial of the line search, or a factor on the exact step.
    """

    name = "bfgs"
    summary = "dense BFGS with a strong-Wolfe or exact line search, for small models and large batches"
    equation = (
        "w <- w - t H g;  s = dw, y = dg, rho = 1 / s'y;  H <- (I - rho s y') H (I - rho y s') + rho s s';  H_0 = I"
    )
    source = "Nocedal & Wright 2006, algorithms 6.1, 3.5 and 3.6, equations 6.17 and 6.20"
    cost = (
        "1 gradient evaluation and 1 for each trial of the line search (mostly 1); exact: 2 and 1 Hessian product; "
        "O(P^2) arithmetic; state P^2 numbers"
    )
    takes_any_gradient = False
    options = (
        Hyperparameter(
            "lr", 1.0, "(0, inf)", "first trial of the line search, or factor on the exact step", Search(0.1, 1.0)
        ),
        LINE_SEARCH,
        Hyperparameter("initial_scaling", False, summary="H = s'y / y'y I instead of I before the first update"),
        MAX_PARAMETERS,
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """UserError above ``max_parameters``."""
        from thalweg_plugins.optimizers.flat import refuse_large
        from thalweg_plugins.optimizers.second_order._quasi_newton import BFGSStepper

        refuse_large(self.name, module, hyperparameters["max_parameters"])
        return BFGSStepper(hyperparameters)
