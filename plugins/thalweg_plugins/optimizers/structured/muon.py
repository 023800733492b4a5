"""Muon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Stepper
from thalweg.contracts import BuildContext, StackedStepper
from thalweg_plugins.optimizers.options import beta1, beta2, decoupled_weight_decay, eps, lr

if TYPE_CHECKING:
    from torch import nn


class Muon(Optimizer):
    """Orthogonalised momentum for the hidden matrices, AdamW for all other parameters.

    Muon trains the weights of linear and convolutional layers between input and output; a convolution's weight counts
    as a matrix (out, in * height * width). AdamW trains:

    - the input layer, which is the module's first linear or convolutional layer or embedding;
    - the output layer, which is a linear or convolutional layer after which no layer has parameters;
    - all embeddings, even where the output layer shares their weights;
    - biases, normalisation, positions, and parameters from which a weight is computed (pruning, parametrizations).

    AdamW alone trains a network without hidden matrices; each step reports their number as ``muon_matrices``. A
    schedule of lr scales AdamW's learning rate in proportion.

    Torch runs the Newton-Schulz iteration in bfloat16. So results on different kinds of hardware differ in the third
    digit, and a CPU without bfloat16 instructions is slow.
    """

    name = "muon"
    stacks = True
    other_rates = ("adamw_lr",)
    summary = "orthogonalised momentum for hidden matrices, AdamW for the other parameters"
    equation = (
        "B <- momentum B + (1 - momentum) G;  O = NewtonSchulz((1 - momentum) G + momentum B, 5 steps) ~ U V' "
        "of its singular value decomposition;  W <- (1 - lr weight_decay) W - lr sqrt(max(1, out/in)) O"
    )
    source = "Jordan et al. 2024, kellerjordan.github.io/posts/muon; torch.optim.Muon, torch.optim.AdamW"
    cost = (
        "1 gradient evaluation, and 15 products of matrices per hidden matrix; "
        "1 number of state per hidden weight, 2 per other parameter"
    )
    options = (
        lr(0.02, 1e-3, 0.3),
        Hyperparameter("momentum", 0.95, "[0, 1)", "decay rate of the mean of gradients"),
        decoupled_weight_decay(0.0),
        Hyperparameter("adamw_lr", 1e-3, "(0, inf)", "learning rate of AdamW", Search(1e-5, 0.1)),
        replace(beta1(), name="adamw_beta1"),
        replace(beta2(0.95), name="adamw_beta2"),
        replace(eps(), name="adamw_eps"),
        replace(decoupled_weight_decay(0.0), name="adamw_weight_decay"),
    )

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper of both optimizers."""
        from thalweg_plugins.optimizers.structured._muon_stepper import MuonStepper

        return MuonStepper(module, hyperparameters)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """The same for K members, whose matrices are orthogonalised together."""
        from thalweg.contracts.stacked import StackedNetwork
        from thalweg_plugins.optimizers.structured._muon_stacked import StackedMuonStepper

        assert isinstance(module, StackedNetwork)
        return StackedMuonStepper(module, members)
