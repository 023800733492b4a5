"""Natural gradient with a sampled Fisher matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Search, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradientCG
from thalweg_plugins.optimizers.natural.options import BY_PRODUCTS, HIGHER_DAMPING, KL, KL_COST, LR

if TYPE_CHECKING:
    from torch import nn


class NaturalGradientMC(NaturalGradientCG):
    """The natural gradient with F estimated from targets drawn from the model, ``samples`` for each example.

    The estimate is unbiased and its error falls as samples^-1/2; it has rank at most N samples, and damping fills the
    rest. Targets are drawn anew at each step, from the trial's seed. For sequences see ``thalweg.curvature.MCFisher``.
    """

    name = "natural-gradient-mc"
    summary = "the Fisher matrix estimated from targets that are drawn from the model, by conjugate gradients"
    equation = "F = mean over x and samples y ~ p(y|x, w) of g_y g_y';  (F + damping I) d = -g;  w <- w + lr d"
    source = (
        "Martens 2020, New insights and perspectives on the natural gradient method; Martens & Grosse 2015 (sampling)"
    )
    options = (
        LR,
        HIGHER_DAMPING,
        KL,
        Hyperparameter("samples", 1, "[1, inf)", "targets drawn for each example", Search(1, 32)),
        *BY_PRODUCTS,
    )
    cost = (
        "1 gradient evaluation, 1 product for each of up to max_iterations; targets cost derivatives in outputs only; "
        f"{KL_COST}; no state"
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper for models of any size."""
        from thalweg.curvature import MCFisher
        from thalweg_plugins.optimizers.natural._natural import NaturalGradientStepper

        samples = hyperparameters["samples"]
        return NaturalGradientStepper(
            lambda objective, outputs: MCFisher(objective, samples, outputs), False, hyperparameters
        )
