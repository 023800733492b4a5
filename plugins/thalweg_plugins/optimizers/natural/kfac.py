"""K-FAC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter, Optimizer, Search, Shape, Stepper
from thalweg.contracts import BuildContext

if TYPE_CHECKING:
    from torch import nn


class KFAC(Optimizer):
    """Natural gradient with each layer's Fisher block taken as a Kronecker product of two small matrices.

    A is the mean of a a' over the layer's inputs (with a one for the bias), G that of g g' over the gradients in its
    outputs of the loss at targets that the model draws itself. (``labels = "exact"``: their expectation, at one
    backward pass an output and a small eigendecomposition an example, which is not counted.) Both are running averages
    (0.95; a plain mean at first). Convolutions follow Grosse & Martens 2016.

    ``update = "quadratic"`` is MG15: step = alpha proposal + mu last step, with alpha and mu from the exact Fisher's
    damped quadratic model of the batch. With ``adapt``, damping follows the
    Levenberg-Marquardt rule every 5 steps (section 6.5) and gamma, which damps the factors and begins at
    sqrt(damping + l2), the best of three every 20 steps (section 6.6). ``update = "plain"`` is heavy-ball momentum at
    rate ``lr``; gamma then stays sqrt(damping + l2). Either is shortened to a predicted KL of ``kl_clip`` where that is
    given (plain: before momentum, as in Ba et al. 2017).

    The rule compares losses of one batch. A small batch is soon fitted, so that it lowers damping without end, and then
    its model trusts steps along which other examples' losses explode: hence ``min_damping``. Small batches want 0.01 or
    more, large ones do with less.

    Covered are Linear, Conv1d and Conv2d layers (without groups, padded with zeros), from the first inversion after
    they are called. Every other parameter (batch and layer norm, embeddings, positions, complex weights, parametrized
    layers, a layer whose weight is used without calling it) takes gradient steps with heavy-ball momentum at rate
    ``rest_lr``. Tied weights, layers used twice in a pass, and weights that a hook computes (pruning, weight
    normalisation) are refused.
    """

    name = "kfac"
    summary = "natural gradient with Kronecker-factored curvature of each layer"
    equation = (
        "A = E[a a'], G = E[g g'];  proposal = -(G + gamma/pi I)^-1 grad (A + pi gamma I)^-1,  "
        "pi^2 = (tr A / dim A) / (tr G / dim G);  w <- w + alpha proposal + mu last step"
    )
    source = "Martens & Grosse 2015 (MG15), algorithm 2 with block-diagonal factors; Grosse & Martens 2016, section 3"
    cost = (
        "1 gradient evaluation, 1 more (a backward pass alone) when factors are refreshed, 2 curvature products for "
        "update = quadratic, 2 factor inversions a layer every inverse_interval steps (three times both when three "
        "gammas are tried; plain with adapt: 1 product every 5 steps); state: factors, their inverses and the last "
        "step, 2 (in^2 + out^2) + in out numbers a layer"
    )
    takes_any_gradient = False
    options = (
        Hyperparameter("lr", 1.0, "(0, inf)", "rate of plain updates; factor on quadratic ones", Search(1e-3, 1.0)),
        Hyperparameter("update", "quadratic", ("quadratic", "plain"), "what sets step length and momentum"),
        Hyperparameter("damping", 1.0, "(0, inf)", "lambda, added to the Fisher; the start where it adapts",
                       Search(1e-3, 1e3)),
        Hyperparameter("adapt", True, summary="whether damping follows the Levenberg-Marquardt rule"),
        Hyperparameter("min_damping", 0.01, "[0, inf)", "how far the rule lowers damping; MG15 sets no bound"),
        Hyperparameter("momentum", 0.9, "[0, 1)", "of plain updates, and of parameters that no layer covers"),
        Hyperparameter("rest_lr", 0.01, "(0, inf)", "rate of parameters that no layer covers", Search(1e-4, 1.0)),
        Hyperparameter("kl_clip", 0.0, "[0, inf)", "largest predicted KL of a step; 0: any, as in MG15"),
        Hyperparameter("factor_interval", 1, "[1, inf)", "steps between refreshes of the factors"),
        Hyperparameter("inverse_interval", 20, "[1, inf)", "steps between inversions; each of the first 3 inverts"),
        Hyperparameter("labels", "sampled", ("sampled", "exact"), "targets drawn from the model, or their expectation"),
    )  # fmt: skip

    def misfit(self, hyperparameters: Mapping[str, Any], shape: Shape) -> str | None:
        """A function has no outputs, and no layers."""
        return "a function has no layers whose curvature could be factored" if shape.task == "function" else None

    def build(self, module: nn.Module, hyperparameters: Mapping[str, Any], context: BuildContext) -> Stepper:
        """A stepper; UserError where weights are tied."""
        from thalweg_plugins.optimizers.natural._kfac import KFACStepper

        return KFACStepper(module, hyperparameters)
