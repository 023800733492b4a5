"""SOAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Stepper
from thalweg.contracts import BuildContext, StackedStepper
from thalweg_plugins.optimizers.options import beta1, beta2, eps, lr

if TYPE_CHECKING:
    from torch import nn


class SOAP(Optimizer):
    """Adam in the eigenbasis of Shampoo's factors.

    The first gradient only sets the eigenbasis, by an eigendecomposition, and moves no weight, as in the authors' code.
    So no gradient is rotated into a basis that was computed from it. After every ``interval`` further steps, one step
    of power iteration updates the basis, by QR decompositions of L Q_L and R Q_R. Each decomposition counts as a factor
    inversion.

    A convolution's weight counts as a matrix (out, in * height * width). Any other parameter of several dimensions
    counts as (first, rest), without dimensions of 1. Vectors, and sides longer than max_size, are not rotated; a vector
    is trained by Adam. Bias corrections are Adam's.
    """

    name = "soap"
    stacks = True
    summary = "Adam in the slowly changing eigenbasis of Shampoo's factors"
    equation = (
        "M <- beta1 M + (1 - beta1) G;  V <- beta2 V + (1 - beta2) (Q_L' G Q_R)^2;  "
        "W <- W - lr Q_L [(Q_L' M Q_R / (1 - beta1^t)) / (sqrt(V / (1 - beta2^t)) + eps)] Q_R';  "
        "L <- beta2 L + (1 - beta2) G G';  R <- beta2 R + (1 - beta2) G' G;  "
        "every interval steps: Q_L <- QR(L Q_L), Q_R <- QR(R Q_R)"
    )
    source = "Vyas et al. 2024, algorithms 3 and 4"
    cost = (
        "1 gradient evaluation, and per matrix (m, n) 2 QR decompositions every interval steps; "
        "2 m n + 2 (m^2 + n^2) numbers of state per matrix, 2 per other parameter"
    )
    options = (
        lr(3e-3, 1e-5, 0.1),
        beta1(0.95),
        beta2(0.95),
        eps(),
        Hyperparameter("interval", 10, "[1, inf)", "steps between updates of the eigenbasis"),
        Hyperparameter("max_size", 1024, "[1, inf)", "the longest side that is rotated"),
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper with two bases for each matrix."""
        from thalweg_plugins.optimizers.structured._matrices import MatrixStepper, SOAPRule

        return MatrixStepper(SOAPRule([hyperparameters]), module)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """The same for K members; their decompositions are computed one after the other."""
        from thalweg_plugins.optimizers.structured._matrices import SOAPRule, stacked_matrices

        return stacked_matrices(SOAPRule, module, members)
