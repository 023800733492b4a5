"""Schedule-free AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.options import beta2, decoupled_weight_decay, eps, lr
from thalweg_plugins.optimizers.rule import Rule

if TYPE_CHECKING:
    from torch import Tensor


class ScheduleFreeAdamW(Rule):
    """AdamW that averages its iterates in place of a decaying schedule.

    z makes the steps, x is the weighted mean of the z, and gradients are taken at y, between z and x. During training
    the module holds y. Metrics are evaluated at x, and x is saved. Step t has the weight lr_t^2 in x, where lr_t = lr
    min(1, t / warmup). On a problem with a domain y, z and x are each projected onto the domain. For evaluations at x,
    batch norm's running statistics are re-estimated on training batches. Use the hyperparameter ``weight_decay`` for
    decoupled weight decay, since the trial's decoupled weight decay would reach y alone.
    """

    name = "schedule-free-adamw"
    revision = 2
    summary = "AdamW that averages its iterates in place of a decaying schedule"
    equation = (
        "y = (1 - beta1) z + beta1 x;  v <- beta2 v + (1 - beta2) g(y)^2;  lr_t = lr min(1, t / warmup);  "
        "z <- z - lr_t (g(y) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y);  "
        "x <- (1 - c) x + c z,  c = lr_t^2 / sum_{tau <= t} lr_tau^2"
    )
    source = "Defazio et al. 2024, algorithm 1"
    cost = "1 gradient evaluation; 3 numbers of state per parameter"
    slots = ("v", "z", "x")
    evaluated = "x"
    placed = ("z", "x")
    takes_decoupled_decay = False
    options = (
        lr(2.5e-3, 1e-5, 0.1),
        Hyperparameter("beta1", 0.9, "[0, 1)", "how far y is from z towards x"),
        beta2(),
        eps(),
        decoupled_weight_decay(0.0),
        Hyperparameter("warmup", 100, "[1, inf)", "steps in which the learning rate rises to lr"),
    )

    def numbers(self, h: Mapping[str, Any], t: int, kept: dict[str, float]) -> dict[str, float]:
        """The hyperparameters, with lr_t, this step's weight in the mean, and the bias correction."""
        lr = h["lr"] * min(1, t / h["warmup"])
        kept["weights"] = kept.get("weights", 0.0) + lr**2
        weight = lr**2 / kept["weights"] if kept["weights"] else 1.0
        return {
            **h,
            "lr": lr,
            "c": weight,
            "rest2": 1 - h["beta2"],
            "correction2": 1 - h["beta2"] ** t,
        }

    def start(self, w: Tensor) -> dict[str, Tensor]:
        """All three sequences begin at the first weights."""
        return {"v": w.new_zeros(w.shape), "z": w.clone(), "x": w.clone()}

    def update(self, w: Tensor, g: Tensor, s: SimpleNamespace, c: SimpleNamespace) -> Tensor:
        """The paper's algorithm, line by line. Both the given and the returned weights are y."""
        s.v = c.beta2 * s.v + c.rest2 * g.square()
        s.z = s.z - c.lr * (g / ((s.v / c.correction2).sqrt() + c.eps) + c.weight_decay * w)
        s.x = s.x.lerp(s.z, c.c)
        new: Tensor = s.z.lerp(s.x, c.beta1)
        return new
