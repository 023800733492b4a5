"""Hessian-free Newton."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.options import FACTOR, MAX_ITERATIONS

if TYPE_CHECKING:
    from torch import nn


class NewtonCG(Optimizer):
    """Solves Newton's equation by truncated conjugate gradients on Hessian products, then backtracks.

    Conjugate gradients stop at a residual of min(1/2, sqrt ||g||) ||g||, so that convergence is superlinear. They also
    stop at a direction of negative curvature (``negative_curvature`` = 1). The step is then the last iterate, or the
    negative gradient where the first direction has negative curvature. The step is halved until the loss falls enough;
    ``step_length`` is 0 where it never does.

    ``follow`` and ``damping`` are not in the source. With ``follow`` a step that met negative curvature continues along
    this direction, with a length that doubles for as long as the loss falls. So it leaves a saddle in a few steps.
    ``damping`` is added to the Hessian. On small batches, above all with batch norm, a damping of about 1 keeps steps
    from fitting the batch, and ``follow`` makes them fit it more.
    """

    name = "newton-cg"
    revision = 2
    summary = "Hessian-free Newton: truncated conjugate gradients with an exit on negative curvature, backtracking"
    equation = "(H + damping I) d = -g to ||r|| <= min(1/2, sqrt ||g||) ||g||;  w <- w + lr t d,  t = 1, 1/2, 1/4, ..."
    source = "Nocedal & Wright 2006, algorithm 7.1; Pearlmutter 1994 (products)"
    cost = (
        "1 gradient evaluation, 1 Hessian product for each of up to max_iterations, 1 or more forward passes; no state"
    )
    takes_any_gradient = False
    options = (
        FACTOR,
        Hyperparameter("damping", 0.0, "[0, inf)", "added to the Hessian's diagonal", Search(1e-4, 1.0)),
        MAX_ITERATIONS,
        Hyperparameter(
            "follow", False, summary="continue along a direction of negative curvature for as long as the loss falls"
        ),
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper for models of any size."""
        from thalweg_plugins.optimizers.second_order._newton import NewtonCGStepper

        return NewtonCGStepper(hyperparameters)
