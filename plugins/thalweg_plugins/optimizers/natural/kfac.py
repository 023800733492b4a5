"""K-FAC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Shape, Stepper
from thalweg.contracts import BuildContext, StackedStepper

if TYPE_CHECKING:
    from torch import nn


class KFAC(Optimizer):
    """Natural gradient with each layer's Fisher block approximated by a Kronecker product of two small matrices.

    A is the mean of a a' over the layer's inputs a, with a one appended for the bias. G is the mean of g g', where g is
    the gradient of the loss in the layer's outputs at targets that the model draws. ``labels = "exact"`` takes the
    expectation over targets; it needs one backward pass for each output, and for each example a small
    eigendecomposition, which is not counted. Batch norm couples examples, so that the exact factors of layers before it
    depend on the signs of eigenvectors. A and G are running averages with decay rate 0.95, and plain means at first.
    Convolutions follow Grosse & Martens 2016.

    ``update = "quadratic"`` is MG15: step = alpha proposal + mu last step. alpha and mu minimise the batch's quadratic
    model with the exact Fisher matrix and damping. gamma damps the factors and begins at sqrt(damping + l2). With
    ``adapt``, damping follows the Levenberg-Marquardt rule every 5 steps (section 6.5), and gamma becomes the best of
    three values every 20 steps (section 6.6). ``update = "plain"`` is heavy-ball momentum at rate ``lr``; gamma then
    stays sqrt(damping + l2). ``kl_clip`` > 0 shortens steps to this predicted KL; with plain updates it shortens the
    proposal before momentum is added, as in Ba et al. 2017.

    The Levenberg-Marquardt rule compares losses of one batch. Steps soon fit a small batch, so that the rule lowers
    damping again and again; then steps are taken along which other examples' losses explode. ``min_damping`` prevents
    this. Small batches need 0.01 or more, large batches less.

    K-FAC covers Linear, Conv1d and Conv2d layers without groups and padded with zeros, from the first inversion after
    they are called. All other parameters take gradient steps with heavy-ball momentum at rate ``rest_lr``: batch and
    layer norm, embeddings, positions, complex weights, parametrized layers, and layers whose weight is used without a
    call. K-FAC refuses tied weights, layers that are used twice in a pass, and weights that a hook computes (pruning,
    weight normalisation).
    """

    name = "kfac"
    other_rates = ("rest_lr",)
    summary = "natural gradient with Kronecker-factored curvature of each layer"
    equation = (
        "A = E[a a'], G = E[g g'];  proposal = -(G + gamma/pi I)^-1 grad (A + pi gamma I)^-1,  "
        "pi^2 = (tr A / dim A) / (tr G / dim G);  w <- w + alpha proposal + mu last step"
    )
    source = "Martens & Grosse 2015 (MG15), algorithm 2 with block-diagonal factors; Grosse & Martens 2016, section 3"
    cost = (
        "1 gradient evaluation, 1 more (a backward pass alone) when factors are refreshed, 2 curvature products for "
        "update = quadratic, 2 factor inversions per layer every inverse_interval steps (3 times the products and "
        "inversions when three gammas are tried; plain with adapt: 1 product every 5 steps); state: factors, their "
        "inverses and the last step, 2 (in^2 + out^2) + in out numbers per layer"
    )
    stacks = True
    takes_any_gradient = False
    options = (
        Hyperparameter("lr", 1.0, "(0, inf)", "rate of plain updates; factor on quadratic ones", Search(1e-3, 1.0)),
        Hyperparameter("update", "quadratic", ("quadratic", "plain"), "how step length and momentum are set"),
        Hyperparameter("damping", 1.0, "(0, inf)", "lambda, added to the Fisher; with adapt its start",
                       Search(1e-3, 1e3)),
        Hyperparameter("adapt", True, summary="whether damping follows the Levenberg-Marquardt rule"),
        Hyperparameter("min_damping", 0.01, "[0, inf)", "lower bound of adapted damping; MG15 has none"),
        Hyperparameter("momentum", 0.9, "[0, 1)", "momentum of plain updates and of uncovered parameters"),
        Hyperparameter("rest_lr", 0.01, "(0, inf)", "learning rate of uncovered parameters", Search(1e-4, 1.0)),
        Hyperparameter("kl_clip", 0.0, "[0, inf)", "largest predicted KL of a step; 0: no bound, as in MG15"),
        Hyperparameter("factor_interval", 1, "[1, inf)", "steps between refreshes of the factors"),
        Hyperparameter("inverse_interval", 20, "[1, inf)", "steps between inversions; the first 3 steps invert too"),
        Hyperparameter("labels", "sampled", ("sampled", "exact"), "targets drawn from the model, or their expectation"),
    )  # fmt: skip

    def misfit(self, hyperparameters: Mapping[str, Any], shape: Shape) -> str | None:
        """Does not fit analytic functions, which have no layers."""
        return "an analytic function has no layers with curvature to factor" if shape.task == "function" else None

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper; UserError where weights are tied."""
        from thalweg_plugins.optimizers.natural._kfac import KFACStepper

        return KFACStepper(module, hyperparameters)

    def build_stacked(
        self, module: nn.Module, members: Sequence[Mapping[str, Any]], context: BuildContext
    ) -> StackedStepper:
        """One stepper for networks of layers that run without autograd; NotImplementedError for others.

        Each member draws targets from its own seed.
        """
        from thalweg.contracts.stacked import StackedNetwork
        from thalweg_plugins.optimizers.natural._kfac_stacked import StackedKFACStepper

        assert isinstance(module, StackedNetwork)
        return StackedKFACStepper(module, members)
