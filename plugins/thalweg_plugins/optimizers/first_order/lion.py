"""Lion."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.options import decoupled_weight_decay, lr
from thalweg_plugins.optimizers.rule import Rule

if TYPE_CHECKING:
    from torch import Tensor


class Lion(Rule):
    """Steps by the sign of a mix of gradient and momentum. Apart from the decay, a weight moves by lr or not at all."""

    name = "lion"
    summary = "the sign of a mix of gradient and momentum"
    equation = "w <- w - lr (sign(beta1 m + (1 - beta1) g) + weight_decay w);  m <- beta2 m + (1 - beta2) g"
    source = "Chen et al. 2023, algorithm 2"
    cost = "1 gradient evaluation; 1 number of state per parameter"
    slots = ("m",)
    options = (
        lr(3e-4, 1e-5, 1e-2),
        Hyperparameter("beta1", 0.9, "[0, 1)", "share of the momentum in the mix"),
        Hyperparameter("beta2", 0.99, "[0, 1)", "decay rate of the momentum"),
        decoupled_weight_decay(0.0),
    )

    def numbers(self, h: Mapping[str, Any], t: int, kept: dict[str, float]) -> dict[str, float]:
        """The hyperparameters, with 1 - beta1 and 1 - beta2."""
        return {**h, "rest1": 1 - h["beta1"], "rest2": 1 - h["beta2"]}

    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The paper's algorithm, line by line."""
        mixed = c.beta1 * s.m + c.rest1 * g
        # torch's sign of nan is 0, which would hide the nan
        sign = mixed.sign().where(mixed.isfinite(), mixed)
        s.m = c.beta2 * s.m + c.rest2 * g
        new: Tensor = w - c.lr * (sign + c.weight_decay * w)
        return new
