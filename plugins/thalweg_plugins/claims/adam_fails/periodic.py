"""D1: theorem 1 of Reddi, Kale and Kumar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.grids import log_grid
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

STEPS = 30_000
SLOPES = (3.0, 4.0, 10.0)
STARTS = (1.0, 0.0, -1.0)
RULES = {
    "adam": ("adam", False),
    "adam, default betas": ("adam", True),
    "amsgrad": ("amsgrad", False),
    "sgd": ("sgd", False),
    "adagrad": ("adagrad", False),
}
"""The rule of each series, and whether it has the betas 0.9 and 0.999."""
PICTURE = (3.0, 0.0)


class D1(LectureClaim):
    """The point that each method plays in the end, and Adam's regret."""

    name = "D1"
    summary = "on theorem 1's game Adam goes to the worst point, and AMSGrad, SGD and AdaGrad to the best"
    statement = (
        "Adam can converge to the worst point of a simple convex problem, where other methods find the best one."
    )
    source = "Reddi, Kale & Kumar 2018, theorem 1"
    method = (
        "At step t the loss is C x where t mod 3 = 1, and -x elsewhere, for x in [-1, 1]. The best point is -1. Adam "
        "and AMSGrad have the paper's form: steps alpha/sqrt(t), no bias correction, beta1 = 0, beta2 = 1/(1 + C^2), "
        "alpha = 0.9 sqrt(1 - beta2). SGD has steps alpha/sqrt(t), AdaGrad alpha/sqrt(sum of g^2) without further "
        "decay, both with this alpha. 30,000 steps from 1, 0 and -1. The other side of the condition: Adam with betas "
        "0.9 and 0.999 and alpha = 0.9 sqrt(0.001). Nothing is random, so there is one seed. A test compares the loop "
        "with the registered problem and optimizers."
    )
    caveat = (
        "The theorem chooses the problem after beta2. With the default betas the same problem is no counterexample, "
        "which the condition measures. For a fixed finite sum a beta2 near enough to 1 lets Adam converge to a "
        "neighbourhood of critical points (Zhang et al. 2022)."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Play all games of a rule at once."""
        import numpy as np

        from thalweg_plugins.claims.adam_fails._games import Games, play

        rows = Measurements()
        c = np.repeat(SLOPES, len(STARTS))
        start = np.tile(STARTS, len(SLOPES))
        grid = log_grid(STEPS)
        for series, (rule, usual) in RULES.items():
            beta2 = np.full_like(c, 0.999) if usual else 1 / (1 + c**2)
            beta1 = np.full_like(c, 0.9 if usual else 0.0)
            path = play(rule, Games(c, start, 0.9 * np.sqrt(1 - beta2), beta1, beta2), STEPS)
            tail = path[-STEPS // 10 :].mean(0)
            slopes = np.where(np.arange(STEPS)[:, None] % 3 == 0, c, -1.0)
            regret = (slopes * (path + 1)).mean(0)
            worst, quantity = (
                (np.min, "smallest mean of x over the tail")
                if rule == "adam"
                else (np.max, "largest mean of x over the tail")
            )
            for slope in SLOPES:
                setting = f"C = {slope:g}"
                rows.add(quantity, worst(tail[c == slope]), setting=setting, series=series)
                mine = regret[c == slope]
                rows.add("largest average regret", mine.max(), setting=setting, series=series)
                if series == "adam":
                    away = np.abs(mine - (2 * slope - 4) / 3).max()
                    rows.add("distance of the average regret from (2C - 4)/3", away, setting=setting, series=series)
            chosen = int(np.flatnonzero((c == PICTURE[0]) & (start == PICTURE[1]))[0])
            rows.curve("x", grid, path[np.array(grid) - 1, chosen], setting="C = 3", series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The point that is played at each step, for C = 3 from 0."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "x", curve=True)
        return curves(rows, "x of each method, C = 3, best point -1", "step t", "x", log_x=True, optimizers=True)
