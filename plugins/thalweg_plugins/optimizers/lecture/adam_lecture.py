"""Adam in the form of lecture notes."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.options import beta1, beta2, lr
from thalweg_plugins.optimizers.rule import Rule

if TYPE_CHECKING:
    from torch import Tensor


class AdamLecture(Rule):
    """Adam with its constant inside the root: the step of ``adam`` times (sqrt(v') + eps) / sqrt(v' + delta).

    v' is the bias-corrected second moment. So delta compares with eps^2, and the default of ``adam`` is a delta of
    1e-16.
    """

    name = "adam-lecture"
    summary = "Adam with the small constant inside the root"
    equation = (
        "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  "
        "w <- w - lr (m / (1 - beta1^t)) / sqrt(v / (1 - beta2^t) + delta)"
    )
    source = "lecture notes; compare Kingma & Ba 2015, algorithm 1"
    cost = "1 gradient evaluation; 2 numbers of state per parameter"
    preconditioned = True
    slots = ("m", "v")
    options = (
        lr(1e-3, 1e-5, 0.1),
        beta1(),
        beta2(),
        Hyperparameter("delta", 1e-8, "(0, inf)", "added inside the root"),
    )

    def numbers(self, h: Mapping[str, Any], t: int, kept: dict[str, float]) -> dict[str, float]:
        """The hyperparameters, with 1 - beta1, 1 - beta2 and the bias corrections."""
        beta1, beta2 = h["beta1"], h["beta2"]
        return {
            **h,
            "rest1": 1 - beta1,
            "rest2": 1 - beta2,
            "correction1": 1 - beta1**t,
            "correction2": 1 - beta2**t,
        }

    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The equation, line by line."""
        s.m = c.beta1 * s.m + c.rest1 * g
        s.v = c.beta2 * s.v + c.rest2 * g.square()
        new: Tensor = w - c.lr * (s.m / c.correction1) / (s.v / c.correction2 + c.delta).sqrt()
        return new

    def divisor(self, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The divisor of the momentum, with both bias corrections."""
        divisor: Tensor = c.correction1 * (s.v / c.correction2 + c.delta).sqrt()
        return divisor

    def stability_limit(self, hyperparameters: Mapping[str, Any]) -> float:
        """Adam's."""
        beta1 = hyperparameters["beta1"]
        return float((2 + 2 * beta1) / (1 - beta1))
