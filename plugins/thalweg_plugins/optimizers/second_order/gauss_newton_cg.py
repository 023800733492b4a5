"""Hessian-free Gauss-Newton."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Shape, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.misfit import no_outputs
from thalweg_plugins.optimizers.options import FACTOR, MAX_ITERATIONS, TOLERANCE

if TYPE_CHECKING:
    from torch import nn


class GaussNewtonCG(Optimizer):
    """(G + lambda I) d = -g by conjugate gradients on products with the generalised Gauss-Newton matrix G.

    G is the Hessian without the curvature of the model's outputs. G is positive semidefinite, and equals the Fisher
    matrix for cross-entropy and squared error. lambda follows Levenberg and Marquardt: ``ratio`` is the actual change
    of the loss on the step's batch over the change that the undamped model predicts; lambda is multiplied by 2/3 for
    ratios above 3/4, and by 3/2 for ratios below 1/4. The step is halved until the loss falls enough; ``step_length``
    is 0 where it never does. With ``warm_start`` conjugate gradients begin at this multiple of the last step, and begin
    again at zero where the result is worse than no step.

    ``ratio`` speaks for one batch only. A low ``min_damping`` is faster on large batches, but lets steps fit small
    batches.
    """

    name = "gauss-newton-cg"
    summary = "Hessian-free Gauss-Newton: conjugate gradients on GGN products, Levenberg-Marquardt damping"
    equation = "(J' H_l J / N + lambda I) d = -g by conjugate gradients;  w <- w + lr t d,  t = 1, 1/2, 1/4, ..."
    source = "Martens 2010, sections 3 and 4; Martens & Sutskever 2012; Schraudolph 2002 (products)"
    cost = (
        "1 gradient evaluation, 1 GGN product for each of up to max_iterations, 1 or more forward passes; "
        "state: the damping, and with warm_start P numbers"
    )
    takes_any_gradient = False
    options = (
        FACTOR,
        Hyperparameter("damping", 1.0, "(0, inf)", "lambda at first", Search(1e-3, 10.0)),
        Hyperparameter("min_damping", 0.3, "(0, inf)", "lambda does not fall below it", Search(1e-4, 1.0)),
        TOLERANCE,
        MAX_ITERATIONS,
        Hyperparameter("warm_start", 0.0, "[0, 1]", "multiple of the last step at which CG begins; 0: zero"),
    )

    def misfit(self, hyperparameters: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits problems whose loss is a function of outputs."""
        return no_outputs(shape)

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper for models of any size."""
        from thalweg_plugins.optimizers.second_order._newton import GaussNewtonCGStepper

        return GaussNewtonCGStepper(hyperparameters)
