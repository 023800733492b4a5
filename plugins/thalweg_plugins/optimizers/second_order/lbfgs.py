"""L-BFGS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Search, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.declared import Declared
from thalweg_plugins.optimizers.second_order.bfgs import LINE_SEARCH

if TYPE_CHECKING:
    from torch import nn


SEARCH = Search(0.1, 1.0)


class LBFGS(Declared):
    """w <- w - t H g with H from the last ``history_size`` pairs s = dw, y = dg; ``max_iter`` iterations a step.

    ``strong-wolfe`` is torch's; with torch's own default tolerances and number of evaluations it stops early, and here
    both are out of the way. ``exact`` takes t = -g'd / d'(Hessian)d, by one Hessian product an iteration: on a
    quadratic this is conjugate gradients with any memory (Kolda, O'Leary & Nazareth 1998); off quadratics nothing makes
    the loss fall, and where the curvature along d is not positive it searches by Wolfe's conditions. All iterations of
    a step see one batch, but torch's first pair of a step is the difference of two batches' gradients, and pairs of
    small batches disagree with each other: it is meant for full or large batches. ``lr`` is the first length that the
    line search tries, so that schedules do next to nothing; with ``exact`` it is a factor on the step.
    """

    name = "lbfgs"
    summary = "limited-memory BFGS with a strong-Wolfe line search; a step is max_iter iterations on one batch"
    equation = "w <- w - t H g,  H from the last history_size pairs s = dw, y = dg;  t by a strong-Wolfe line search"
    source = "Liu & Nocedal 1989; Nocedal & Wright 2006, algorithms 7.4 and 7.5; torch.optim.LBFGS"
    cost = (
        "1 gradient evaluation an iteration and 1 for each further trial of the line search; "
        "exact: 1 + max_iter gradient evaluations and max_iter Hessian products, more where curvature is not positive; "
        "state 2 history_size P numbers"
    )
    torch_name = "LBFGS"
    elementwise = False
    takes_any_gradient = False
    options = (
        Hyperparameter("lr", 1.0, "(0, inf)", "first length of the line search, or factor on exact steps", SEARCH),
        Hyperparameter("max_iter", 5, "[1, inf)", "iterations in one step"),
        Hyperparameter("history_size", 10, "[1, inf)", "pairs that are kept"),
        LINE_SEARCH,
    )

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Torch's defaults stop early: evaluations are left unlimited and the tolerances next to nothing."""
        iterations = hyperparameters["max_iter"]
        return {
            "lr": hyperparameters["lr"],
            "max_iter": iterations,
            "history_size": hyperparameters["history_size"],
            "max_eval": 25 * iterations,
            "line_search_fn": "strong_wolfe",
            "tolerance_grad": 0.0,
            "tolerance_change": 1e-60,
        }

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """Torch's optimizer, or the two loops with the exact step."""
        if hyperparameters["line_search"] == "strong-wolfe":
            return super().build(module, hyperparameters, context)
        from thalweg_plugins.optimizers.second_order._quasi_newton import LBFGSStepper

        return LBFGSStepper(hyperparameters)
