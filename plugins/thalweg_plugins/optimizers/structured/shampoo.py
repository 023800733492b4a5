"""Shampoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Stepper
from thalweg.contracts import BuildContext
from thalweg_plugins.optimizers.options import eps, lr

if TYPE_CHECKING:
    from torch import nn


class Shampoo(Optimizer):
    """Gradients of matrices, preconditioned on both sides by sums of their outer products.

    A convolution's weight is a matrix (out, in * height * width), and any other parameter of several dimensions, those
    of 1 left out, (first, rest). A vector has the one factor L, so that its step is full-matrix AdaGrad, L^-1/2 G: the
    paper's algorithm 2 for one dimension. A side longer than max_size gets no factor, and the other one's exponent is
    -1/2 then; with both sides longer, or a longer vector, the step is diagonal AdaGrad's, G / sqrt(eps + sum G^2).

    Roots are computed at each of the first ``interval`` steps, while the factors are young, and at every ``interval``
    steps from there, from eigenvalues in float64; each eigendecomposition counts as a factor inversion. Momentum is
    over the gradients, before they are preconditioned.
    """

    name = "shampoo"
    summary = "gradients of matrices preconditioned on the left and on the right"
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
        Hyperparameter("interval", 10, "[1, inf)", "steps between two computations of the roots"),
        Hyperparameter("max_size", 1024, "[1, inf)", "the longest side that gets a factor"),
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper with two factors a matrix."""
        from thalweg_plugins.optimizers.structured._matrices import ShampooStepper

        return ShampooStepper(module, hyperparameters)
