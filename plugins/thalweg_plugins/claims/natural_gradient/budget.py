"""B4: at equal KL divergence the natural gradient lowers the loss more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas
    from torch import Tensor

    from thalweg_plugins.claims.natural_gradient._small import Case

BUDGETS = {"KL = 1e-4": 1e-4, "KL = 1e-3": 1e-3, "KL = 1e-2": 1e-2}


def at_divergence(given: Case, direction: Tensor, budget: float) -> Tensor:
    """The step t d with t > 0 whose exact KL divergence is the budget: the first such t."""
    import scipy.optimize
    import torch

    with torch.no_grad():

        def excess(t: float) -> float:
            return float(given.divergence(given.w + t * direction)) - budget

        high = 1e-6 / float(direction.norm())
        while excess(high) < 0:
            high *= 2
        t = scipy.optimize.brentq(excess, high / 2, high, rtol=1e-12)
    return t * direction


class B4(LectureClaim):
    """The drop of the loss by a step of given KL divergence, natural gradient over gradient descent."""

    name = "B4"
    summary = "at an equal KL budget a natural gradient step lowers the loss more than a gradient step"
    statement = (
        "For the same change of the model's outputs the natural gradient lowers the loss more than the gradient."
    )
    source = "Amari 1998; Martens 2020"
    method = (
        "A network of 8, 6 and 10 units with tanh, whose last logit is 0 so that the Fisher matrix F is invertible. "
        "500 digits of 8 principal components, float64. A seed draws the digits and the first weights, and 200 steps "
        "of gradient descent (lr = 0.5) come first. One step along -F^-1 g (registered natural-gradient, damping "
        "1e-12) and one along -g. Both have the exact mean KL(p_w || p_(w+D)) of the budget, found by a root search "
        "to 1e-12. The drop is of the loss on the same 500 digits."
    )
    caveat = (
        "For small budgets it follows from B1. One step says little of a whole training, whose batches, damping and "
        "costs decide (B5)."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Both directions at all budgets."""
        import numpy as np
        import torch

        from thalweg_plugins.claims.natural_gradient._small import case
        from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradient

        given = case(seed)
        rows = Measurements()
        w = given.w
        directions = {
            "natural gradient": given.stepped(NaturalGradient(), lr=1.0, damping=1e-12),
            "gradient descent": -torch.func.grad(given.loss)(w).detach(),
        }
        first = float(given.loss(w).detach())
        for series, direction in directions.items():

            def drop(budget: float, direction: Tensor = direction) -> float:
                return first - float(given.loss(w + at_divergence(given, direction, budget)).detach())

            for setting, budget in BUDGETS.items():
                rows.add("drop of the loss", drop(budget), setting=setting, series=series)
            grid = np.geomspace(1e-5, 1e-1, 13)
            rows.curve("drop by KL", grid, [drop(float(budget)) for budget in grid], series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The drop against the budget."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "drop by KL", curve=True)
        title = "Drop of the loss by one step of given KL"
        return curves(rows, title, "KL(p before || p after), nats", "drop of the loss, nats", log_x=True, log_y=True)
