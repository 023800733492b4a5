"""Adam and AMSGrad as Reddi, Kale & Kumar write them."""

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
    """Adam without bias correction and without eps, with steps lr / sqrt(t): what the counterexamples are about.

    0/0, of a weight that has seen no gradient but 0, counts as 0. The projection onto a domain is the problem's: on a
    box the paper's, weighted by sqrt(v), is the usual one. lr is the paper's alpha, and beta1 is constant. A schedule
    that decays as 1 / sqrt(t) would do so twice.
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
    """As ``adam-rkk18``, but divided by the root of the largest v so far: the paper's AMSGrad.

    There is no bias correction, so that the maximum is over v itself; ``amsgrad`` is torch's form.
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
