"""C3: a noisy past holds AdaGrad back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    from numpy.typing import NDArray

NOISY = 500
STEPS = 3000
TARGET = 5.0
NEAR = 0.05
RATES = 25
ROUNDING = 2.0**-51
"""A smaller distance counts as this one, half the spacing of numbers near 5, so that it has a logarithm."""


def distances(rule: str, rates: NDArray[np.float64], noise: NDArray[np.float64], convex: bool) -> NDArray[np.float64]:
    """|w - 5| after the last step for each rate (R,), under noise (T,) that is zero after the noisy steps."""
    import numpy as np

    w, v = np.zeros_like(rates), np.zeros_like(rates)
    for disturbance in noise:
        away = w - TARGET
        g = 0.1 * away * (1.0 if convex else np.exp(-(away**2) / 18)) + disturbance
        if rule == "adagrad":
            v = v + g**2
            w = w - rates * g / (np.sqrt(v) + 1e-10)
        else:
            v = 0.9 * v + 0.1 * g**2
            w = w - rates * g / (np.sqrt(v) + 1e-8)
    return np.abs(w - TARGET)


class C3(LectureClaim):
    """How near to the optimum AdaGrad and RMSProp come by rate, after a noisy beginning."""

    name = "C3"
    summary = "after a noisy beginning AdaGrad arrives at fewer rates than RMSProp; does it fail at every rate?"
    statement = (
        "AdaGrad never forgets, so that large gradients of the past can hold it far from the optimum, above all where "
        "the problem is not convex."
    )
    source = "Tieleman & Hinton 2012, lecture 6.5; Goodfellow, Bengio & Courville 2016, section 8.5"
    method = (
        "One weight from 0, with gradient 0.1 (w - 5) + 100 N(0, 1) in the first 500 steps and without noise in the "
        "other 2,500. The non-convex case has 0.1 (w - 5) exp(-(w - 5)^2/18) in place of 0.1 (w - 5). 25 rates from "
        "1e-3 to 1e3 on a logarithmic grid, the same noise for all. The rival is RMSProp with rho = 0.9; both have "
        "their default eps. A rate arrives where |w - 5| < 0.05 in the end. A best distance below the rounding of w "
        "counts as this rounding. A seed draws the noise."
    )
    caveat = (
        'The share of rates depends on the grid. The condition "most rates" asks only that AdaGrad arrives at fewer '
        'rates than RMSProp. That AdaGrad is far at every rate (the condition "any rate") is a stronger statement '
        "than the lecture's concern, and is judged by the best rate. RMSProp at a constant rate hovers at a distance "
        "of about its rate, so large rates never arrive."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Both methods at all rates, in both cases."""
        import numpy as np

        rates = np.geomspace(1e-3, 1e3, RATES)
        noise = np.zeros(STEPS)
        noise[:NOISY] = 100 * np.random.default_rng([303, seed]).standard_normal(NOISY)
        rows = Measurements()
        for setting in ("convex", "non-convex"):
            for series in ("rmsprop", "adagrad"):
                found = distances(series, rates, noise, setting == "convex")
                rows.add("share of rates that arrive", (found < NEAR).mean(), setting=setting, series=series)
                best = max(float(found.min()), ROUNDING)
                rows.add("log of the best distance over 0.05", math.log(best / NEAR), setting=setting, series=series)
                shown = np.maximum(found, ROUNDING)
                rows.curve("distance", rates, shown, setting=setting, series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The distance against the rate, in the convex case."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "distance", curve=True)
        rows = rows.assign(series=rows["series"] + ", " + rows["setting"])
        return curves(
            rows, "Distance after a noisy beginning", "learning rate", "|w - 5| in the end", log_x=True, log_y=True
        )
