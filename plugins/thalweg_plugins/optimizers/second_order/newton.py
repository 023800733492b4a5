"""Newton's method with a dense Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.options import FACTOR, MAX_PARAMETERS

if TYPE_CHECKING:
    from torch import nn


class Newton(Optimizer):
    """w <- w - (H + lambda I)^-1 g with lambda >= max(0, -lambda_min) + delta, so that the step always descends.

    Where H is indefinite, plain Newton climbs towards the saddle. Here lambda exceeds -lambda_min, and the step reports
    ``indefinite`` = 1 and ``lambda_min``. lambda follows Levenberg and Marquardt: ``ratio`` is the actual over the
    predicted change of the loss on the step's batch; lambda is divided by 4 for ratios above 3/4, and multiplied by 4
    for ratios below 1/4. A step that raises the loss is not taken: lambda is multiplied by 4, in up to 25 attempts,
    until the step lowers the loss (``accepted`` = 0 if every attempt fails). delta is raised to the rounding errors of
    H where these are larger.

    At the declared defaults lambda starts at delta, and one step reaches the minimum of a positive definite quadratic
    to rounding. The Hessian of a small batch is singular and differs from batch to batch; there a delta of 1e-3 or more
    keeps steps from fitting the batch.
    """

    name = "newton"
    revision = 2
    summary = "dense damped Newton with a Levenberg-Marquardt rule, for small models; descends where H is indefinite"
    equation = "w <- w - lr (H + lambda I)^-1 g,  lambda >= max(0, -lambda_min(H)) + delta"
    source = "Nocedal & Wright 2006, sections 3.4 and 10.3; Marquardt 1963 (damping by the reduction ratio)"
    cost = (
        "1 gradient evaluation, P Hessian products, 1 eigendecomposition of a P by P matrix and a forward pass for "
        "each damping that is tried (mostly 1); state: the damping"
    )
    takes_any_gradient = False
    options = (
        FACTOR,
        Hyperparameter("damping", 0.0, "[0, inf)", "lambda at first", Search(1e-4, 10.0)),
        Hyperparameter("delta", 1e-12, "(0, inf)", "the least eigenvalue of H + lambda I", Search(1e-6, 0.1)),
        MAX_PARAMETERS,
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """UserError above ``max_parameters``."""
        from thalweg_plugins.optimizers.flat import refuse_large
        from thalweg_plugins.optimizers.second_order._newton import NewtonStepper

        refuse_large(self.name, module, hyperparameters["max_parameters"])
        return NewtonStepper(hyperparameters)
