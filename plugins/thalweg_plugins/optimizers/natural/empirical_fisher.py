"""Preconditioning with the empirical Fisher matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradientCG
from thalweg_plugins.optimizers.natural.options import BY_PRODUCTS, HIGHER_DAMPING, KL, KL_COST, LR

if TYPE_CHECKING:
    from torch import nn


class EmpiricalFisher(NaturalGradientCG):
    """Preconditions with E = mean of g_i g_i' over the batch's examples with their true targets. Not natural gradient.

    E is no estimate of the Fisher matrix F: E uses the targets in the data, and F uses targets from the model's own
    distribution. E and F agree only where the model has learnt the distribution of the data. Elsewhere E has other
    directions and another scale than F. Near an interpolating solution E vanishes with the gradients g, so that steps
    grow as 1 / g. Some authors call preconditioning with E natural gradient.
    """

    name = "empirical-fisher"
    summary = "preconditioning by outer products of per-example gradients with true targets, which is not the Fisher"
    equation = "E = mean over examples of g_i g_i';  (E + damping I) d = -g by conjugate gradients;  w <- w + lr d"
    source = "Kunstner, Balles & Hennig 2019, Limitations of the empirical Fisher approximation, equation 3"
    options = (LR, HIGHER_DAMPING, KL, *BY_PRODUCTS)
    cost = f"1 gradient evaluation, 1 product for each of up to max_iterations; {KL_COST}; no state"

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper for models of any size."""
        from thalweg.curvature import EmpiricalFisher as Matrix
        from thalweg_plugins.optimizers.natural._natural import NaturalGradientStepper

        return NaturalGradientStepper(Matrix, False, hyperparameters)
