"""RMSProp in the form of lecture notes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.options import lr
from thalweg_plugins.optimizers.rule import Rule

if TYPE_CHECKING:
    from torch import Tensor


class RMSpropLecture(Rule):
    """RMSProp with a fading sum, not a mean, over the gradients *before* this one.

    v_t = sum_{tau < t} rho^(t - tau) g_tau^2.

    This v at t + 1 is rho / (1 - rho) times the v of ``rmsprop`` at t. So in a steady state equal steps need
    lr = lr_rmsprop sqrt(rho / (1 - rho)). A weight whose v is zero takes no step, as every weight at t = 1. Later
    lr / eps bounds the step per unit of gradient, as in ``adagrad-lecture``.
    """

    name = "rmsprop-lecture"
    summary = "RMSProp with a fading sum of squares that leaves out the current gradient"
    equation = "w <- w - lr g / (sqrt(v) + eps) where v > 0;  v <- rho (v + g^2)"
    source = "lecture notes; compare Tieleman & Hinton 2012, lecture 6.5"
    cost = "1 gradient evaluation; 1 number of state per parameter"
    slots = ("v",)
    options = (
        lr(0.01, 1e-4, 1.0),
        Hyperparameter("rho", 0.99, "(0, 1)", "share of the sum that is kept at each step"),
        Hyperparameter("eps", 1e-3, "[0, inf)", "added to the root"),
    )

    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """Step first, then add to the sum."""
        step = c.lr * g / (s.v.sqrt() + c.eps)
        w = w.where(s.v == 0, w - step)
        s.v = c.rho * (s.v + g.square())
        return w
