"""A2: heavy-ball momentum against gradient descent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.grids import log_grid
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    from numpy.typing import NDArray

MOST = 100_000


def constants(kappa: float) -> dict[str, tuple[float, float]]:
    """Learning rate and momentum of each method for eigenvalues from mu = 1 to L = kappa; Polyak's for momentum."""
    root = math.sqrt(kappa)
    return {
        "gradient descent, 1/L": (1 / kappa, 0.0),
        "gradient descent, 2/(L + mu)": (2 / (kappa + 1), 0.0),
        "momentum": (4 / (root + 1) ** 2, ((root - 1) / (root + 1)) ** 2),
    }


def values(
    h: NDArray[np.float64], offset: NDArray[np.float64], lr: float, momentum: float, target: float, most: int = MOST
) -> list[float]:
    """f / f0 at each step of v <- momentum v + H x, x <- x - lr v, until a value is at most ``target``."""
    x, v = offset, 0.0 * offset
    g = h @ x
    found = [0.5 * float(x @ g)]
    while found[-1] > target * found[0] and len(found) <= most:
        v = momentum * v + g
        x = x - lr * v
        g = h @ x
        found.append(0.5 * float(x @ g))
    return [value / found[0] for value in found]


class A2(LectureClaim):
    """Steps to f <= 1e-10 f0 of gradient descent over those of momentum."""

    name = "A2"
    summary = "momentum with the optimal constants needs a third of gradient descent's steps or fewer"
    statement = "Momentum needs far fewer steps than gradient descent where the function is badly conditioned."
    source = "Polyak 1964; Nocedal & Wright 2006, section 3.3"
    method = (
        "The quadratics of A1. Steps are counted until f <= 1e-10 f0. Momentum has Polyak's constants, lr = 4/(sqrt L "
        "+ sqrt mu)^2 and momentum = ((sqrt L - sqrt mu)/(sqrt L + sqrt mu))^2. Gradient descent has the step 1/L, "
        "and its best constant step 2/(L + mu). The loops are plain ones in float64; a test compares them with the "
        "registered optimizers."
    )
    caveat = (
        "L and mu are known here. Momentum's advantage grows as the root of the condition number. It is a theorem for "
        "quadratics; heavy-ball momentum with these constants may cycle on other convex functions (Lessard et al. "
        "2016), and with noisy gradients the advantage is smaller."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Count the steps of the three methods."""
        from thalweg_plugins.claims.quadratics._quadratic import SIZES, TARGET, instance

        rows = Measurements()
        for setting, (_, kappa) in SIZES.items():
            given = instance(setting, seed)
            for series, (lr, momentum) in constants(kappa).items():
                found = values(given.h, given.offset, lr, momentum, TARGET)
                reached = found[-1] <= TARGET
                note = "" if reached else f"did not reach the target in {MOST} steps"
                rows.add("steps", len(found) - 1 if reached else None, setting=setting, series=series, note=note)
                # one grid for all seeds, so that each step has a median over seeds
                grid = [t for t in log_grid(MOST, 150) if t < len(found)]
                rows.curve("f / f0", grid, [found[t] for t in grid], setting=setting, series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The value against the steps, at the larger condition number."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "f / f0", curve=True)
        rows = rows[rows["setting"] == "d = 50, kappa = 1000"]
        return curves(
            rows, "Momentum and gradient descent, kappa = 1000", "steps", "f / f0", log_x=True, log_y=True, bands=False
        )
