"""Adam and AMSGrad in the form of Reddi, Kale & Kumar."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg_plugins.optimizers.options import beta1, beta2, lr
from thalweg_plugins.optimizers.rule import Rule

if TYPE_CHECKING:
    from torch import Tensor


class AdamRKK18(Rule):
    """Adam without bias correction and without eps, with steps lr / sqrt(t), as in the paper's counterexamples.

    A weight that has seen only gradients of 0 takes no step: 0/0 counts as 0. The problem projects onto its domain. On
    a box, the paper's projection, weighted by sqrt(v), equals the Euclidean projection. lr is the paper's alpha, and
    beta1 is constant. Use a constant schedule, since the steps already decay as 1 / sqrt(t).
    """

    name = "adam-rkk18"
    summary = "Adam without bias correction and with steps lr / sqrt(t), as Reddi et al. analyse it"
    equation = "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  w <- w - lr / sqrt(t) m / sqrt(v)"
    source = "Reddi, Kale & Kumar 2018, algorithm 1 with their equation for Adam"
    cost = "1 gradient evaluation; 2 numbers of state per parameter"
    slots: ClassVar[tuple[str, ...]] = ("m", "v")
    options = (lr(0.01, 1e-4, 1.0), beta1(), beta2())

    def numbers(self, h: Mapping[str, Any], t: int, kept: dict[str, float]) -> dict[str, float]:
        """With alpha_t."""
        return {**h, "alpha": h["lr"] / math.sqrt(t), "rest1": 1 - h["beta1"], "rest2": 1 - h["beta2"]}

    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """Line by line the paper's algorithm."""
        s.m = c.beta1 * s.m + c.rest1 * g
        s.v = c.beta2 * s.v + c.rest2 * g.square()
        new: Tensor = w - (c.alpha * s.m / s.v.sqrt()).where(s.v != 0, 0.0)
        return new


class AMSGradRKK18(AdamRKK18):
    """The paper's AMSGrad: ``adam-rkk18`` divided by the root of the largest v so far.

    The maximum is over v without bias correction. ``amsgrad`` is torch's form, which has the correction.
    """

    name = "amsgrad-rkk18"
    summary = "AMSGrad without bias correction and with steps lr / sqrt(t), as Reddi et al. propose it"
    equation = (
        "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  u <- max(u, v);  "
        "w <- w - lr / sqrt(t) m / sqrt(u)"
    )
    source = "Reddi, Kale & Kumar 2018, algorithm 2"
    cost = "1 gradient evaluation; 3 numbers of state per parameter"
    slots: ClassVar[tuple[str, ...]] = ("m", "v", "u")

    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """Line by line the paper's algorithm."""
        s.m = c.beta1 * s.m + c.rest1 * g
        s.v = c.beta2 * s.v + c.rest2 * g.square()
        s.u = s.u.maximum(s.v)
        new: Tensor = w - (c.alpha * s.m / s.u.sqrt()).where(s.u != 0, 0.0)
        return new
