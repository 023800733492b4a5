"""Shampoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Stepper
from thalweg.contracts import BuildContext, StackedStepper
from thalweg_plugins.optimizers.options import eps, lr

if TYPE_CHECKING:
    from torch import nn


class Shampoo(Optimizer):
    """Preconditions the gradients of matrices on both sides, by sums of the gradients' outer products.

    A convolution's weight counts as a matrix (out, in * height * width). Any other parameter of several dimensions
    counts as (first, rest), without dimensions of 1. A vector has only the factor L, so that its step is full-matrix
    AdaGrad, L^-1/2 G: the paper's algorithm 2 for one dimension. A side longer than max_size gets no factor, and the
    other side's exponent becomes -1/2. Where no side gets a factor, the step is diagonal AdaGrad, G / sqrt(eps + sum
    G^2).

    Roots are computed at each of the first ``interval`` steps, while the factors change fast, and then at every
    ``interval``-th step, from eigenvalues in float64. Each eigendecomposition counts as a factor inversion. Momentum
    sums gradients before they are preconditioned.
    """

    name = "shampoo"
    stacks = True
    summary = "gradients of matrices, preconditioned on the left and on the right"
    equation = (
        "L <- L + G G';  R <- R + G' G;  M <- momentum M + G;  W <- W - lr L^-1/4 M R^-1/4;  L_0 = eps I, R_0 = eps I"
    )
    source = "Gupta, Koren & Singer 2018, algorithm 1"
    cost = (
        "1 gradient evaluation, and per matrix (m, n) 2 eigendecompositions every interval steps; "
        "m n + 2 (m^2 + n^2) numbers of state per matrix, m + 2 m^2 per vector"
    )
    options = (
        lr(0.03, 1e-3, 1.0),
        Hyperparameter("momentum", 0.9, "[0, 1)", "share of the sum of gradients that is kept"),
        eps(1e-4),
        Hyperparameter("interval", 10, "[1, inf)", "steps between computations of the roots"),
        Hyperparameter("max_size", 1024, "[1, inf)", "the longest side that gets a factor"),
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper with two factors for each matrix."""
        from thalweg_plugins.optimizers.structured._matrices import MatrixStepper, ShampooRule

        return MatrixStepper(ShampooRule([hyperparameters]), module)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """The same for K members; their decompositions are computed one after the other."""
        from thalweg_plugins.optimizers.structured._matrices import ShampooRule, stacked_matrices

        return stacked_matrices(ShampooRule, module, members)
