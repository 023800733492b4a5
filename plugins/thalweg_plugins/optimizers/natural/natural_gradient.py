"""Natural gradient with the exact Fisher matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Shape, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.misfit import no_outputs
from thalweg_plugins.optimizers.natural.options import BY_PRODUCTS, DAMPING, KL, KL_COST, LR
from thalweg_plugins.optimizers.options import MAX_PARAMETERS

if TYPE_CHECKING:
    from torch import nn


class NaturalGradient(Optimizer):
    """w <- w - lr (F + damping I)^-1 g with the exact, dense Fisher matrix F = J'F_l J / N, for small models.

    F_l is the Fisher information of the model's own p(y|z), so F does not depend on the batch's targets. The step
    d = -F^-1 g minimises g'd + KL to second order. It does not depend on the model's parametrisation; damping that is
    large next to F loses this invariance. For a batch of N and C classes F has rank at most N (C - 1).

    With ``kl`` the step keeps its direction. Its length is the one at which the exact mean KL(p_w || p_w+step) on the
    batch meets the budget within 1%, found by bracketing and bisection. The step reports ``kl`` and ``step_length``.
    Where no length meets the budget (a gradient of zero, a model that saturates), ``kl`` is the divergence that the
    step has.
    """

    name = "natural-gradient"
    summary = "natural gradient with the exact, dense Fisher matrix, for small models; optionally a given KL per step"
    equation = "w <- w - lr (F + damping I)^-1 g,  F = E_x E_{y ~ p(y|x, w)} [grad log p grad log p']"
    source = "Amari 1998, theorem 1; Martens 2020, New insights and perspectives on the natural gradient method"
    cost = f"1 gradient evaluation, P Fisher products, 1 Cholesky factorization of a P by P matrix; {KL_COST}; no state"
    options: tuple[Hyperparameter, ...] = (LR, DAMPING, KL, MAX_PARAMETERS)

    def misfit(self, hyperparameters: Mapping[str, Any], shape: Shape) -> str | None:
        """Needs a model of targets."""
        return no_outputs(shape)

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """UserError above ``max_parameters``."""
        from thalweg.curvature import Fisher
        from thalweg_plugins.optimizers.flat import refuse_large
        from thalweg_plugins.optimizers.natural._natural import NaturalGradientStepper

        refuse_large(self.name, module, hyperparameters["max_parameters"])
        return NaturalGradientStepper(Fisher, True, hyperparameters)


class NaturalGradientCG(NaturalGradient):
    """w <- w - lr (F + damping I)^-1 g by conjugate gradients on products with the exact Fisher matrix F.

    The step equals the step of ``natural-gradient`` up to the tolerance of the solution, for models of any size. With
    few iterations the step is short in directions of small curvature, as with damping.
    """

    name = "natural-gradient-cg"
    summary = "natural gradient by conjugate gradients on exact Fisher products; optionally a given KL per step"
    equation = "(F + damping I) d = -g by conjugate gradients;  w <- w + lr d"
    cost = f"1 gradient evaluation, 1 Fisher product for each of up to max_iterations; {KL_COST}; no state"
    options: tuple[Hyperparameter, ...] = (LR, DAMPING, KL, *BY_PRODUCTS)

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper for models of any size."""
        from thalweg.curvature import Fisher
        from thalweg_plugins.optimizers.natural._natural import NaturalGradientStepper

        return NaturalGradientStepper(Fisher, False, hyperparameters)
