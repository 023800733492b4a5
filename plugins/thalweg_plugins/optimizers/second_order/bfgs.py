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
    "t by the strong Wolfe conditions (c1 = 1e-4, c2 = 0.9), or t = -g'd / d'(Hessian)d, exact on quadratics",
)


class BFGS(Optimizer):
    """Quasi-Newton with a dense approximation H of the inverse Hessian, H = I at first. A step is one iteration.

    Use full or large batches: both gradients of a pair s, y come from one batch, but pairs of different small batches
    disagree with each other. A pair with too little curvature s'y is skipped, so that H stays positive definite
    (``skipped``). Where the line search finds no point in 25 evaluations, the step goes to the lowest point and H
    starts anew (``line_search_failed``). ``exact`` goes to the minimiser of the quadratic model along d, by one Hessian
    product; where the curvature along d is not positive, it uses the Wolfe conditions. Off quadratics, exact steps may
    raise the loss. ``lr`` is the first trial of the line search, or a factor on the exact step.
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
