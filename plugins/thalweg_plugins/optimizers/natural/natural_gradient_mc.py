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
    """Natural gradient with an estimate of F from ``samples`` targets for each example, drawn from the model.

    The estimate is unbiased, and its error falls as samples^-1/2. Its rank is at most N samples; damping makes the
    matrix regular. Every step draws new targets from the trial's seed. For sequences see
    ``thalweg.curvature.MCFisher``.
    """

    name = "natural-gradient-mc"
    summary = "natural gradient with a Fisher matrix estimated from targets that the model draws"
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
        "1 gradient evaluation, up to max_iterations products; sampled targets need derivatives in outputs only; "
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
