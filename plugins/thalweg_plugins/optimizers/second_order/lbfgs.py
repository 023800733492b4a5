"""L-BFGS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Search, Stepper
from thalweg.contracts import BuildContext, StackedStepper
from thalweg_plugins.optimizers.declared import Declared
from thalweg_plugins.optimizers.second_order.bfgs import LINE_SEARCH

if TYPE_CHECKING:
    from torch import nn


SEARCH = Search(0.1, 1.0)


class LBFGS(Declared):
    """w <- w - t H g with H from the last ``history_size`` pairs s = dw, y = dg. A step is ``max_iter`` iterations.

    ``strong-wolfe`` is torch's line search, without the tolerances and the limit of evaluations by which torch stops
    early. ``exact`` takes t = -g'd / d'(Hessian)d, by one Hessian product per iteration. On a quadratic, exact steps
    are conjugate gradients for every ``history_size`` (Kolda, O'Leary & Nazareth 1998); off quadratics they may raise
    the loss. Where the curvature along d is not positive, ``exact`` uses the Wolfe conditions.

    Use full or large batches: all iterations of a step see one batch, but pairs of different small batches disagree,
    and torch's first pair in a step is a difference of two batches' gradients. ``lr`` is the first length that the line
    search tries, so that schedules have nearly no effect; with ``exact`` it is a factor on the step.
    """

    name = "lbfgs"
    summary = "limited-memory BFGS with a strong-Wolfe or exact line search; a step is max_iter iterations on one batch"
    equation = "w <- w - t H g,  H from the last history_size pairs s = dw, y = dg;  t by a strong-Wolfe line search"
    source = "Liu & Nocedal 1989; Nocedal & Wright 2006, algorithms 7.4 and 7.5; torch.optim.LBFGS"
    cost = (
        "1 gradient evaluation per iteration and 1 for each further trial of the line search; "
        "exact: 1 + max_iter gradient evaluations and max_iter Hessian products, more where curvature is not positive; "
        "state 2 history_size P numbers"
    )
    torch_name = "LBFGS"
    elementwise = False
    stacks = True
    takes_any_gradient = False
    options = (
        Hyperparameter("lr", 1.0, "(0, inf)", "first length of the line search, or factor on exact steps", SEARCH),
        Hyperparameter("max_iter", 5, "[1, inf)", "iterations in one step"),
        Hyperparameter("history_size", 10, "[1, inf)", "number of pairs to keep"),
        LINE_SEARCH,
    )

    def arguments(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Torch's arguments, with unlimited evaluations and tiny tolerances, since torch's defaults stop early."""
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
        """Torch's optimizer, or for exact steps the two-loop recursion."""
        if hyperparameters["line_search"] == "strong-wolfe":
            return super().build(module, hyperparameters, context)
        from thalweg_plugins.optimizers.second_order._quasi_newton import LBFGSStepper

        return LBFGSStepper(hyperparameters)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """The same iterations for K members, whose trial points are evaluated together.

        Raises:
            NotImplementedError: exact steps, whose Hessian products have no form for several members.
        """
        if any(member["line_search"] != "strong-wolfe" for member in members):
            raise NotImplementedError("members with exact line searches train one at a time")
        from thalweg.contracts.stacked import StackedNetwork
        from thalweg_plugins.optimizers.second_order._lbfgs_stacked import StackedLBFGSStepper

        assert isinstance(module, StackedNetwork)
        return StackedLBFGSStepper(module, [self.arguments(member) for member in members])
