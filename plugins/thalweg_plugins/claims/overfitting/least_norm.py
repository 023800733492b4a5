"""E1: gradient descent finds the minimum-norm solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.grids import log_grid
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

STEPS = 1500


class E1(LectureClaim):
    """The distance of gradient descent's weights from X'(XX')^-1 y, and the accuracy on new examples."""

    name = "E1"
    summary = "gradient descent from zero finds the minimum-norm solution, which classifies new examples"
    statement = (
        "Where many solutions fit the training data, gradient descent from zero finds the one of least norm, which "
        "generalizes."
    )
    source = "Wilson et al. 2017, section 3.3 and lemma 3.1 (for adaptive methods)"
    method = (
        "The registered problem wrs17: 200 training and 200 test examples with y = +1 (one unique feature) or -1 "
        "(five), and three shared features (y, 1, 1). Gradient descent with lr = 0.3 and full batches from zero in "
        "float64, 1,500 steps. The distance is relative to the minimum-norm solution. Nothing is random: the seeds "
        "repeat one computation. The lecture's literal generator (one or three unique features) is reported."
    )
    caveat = (
        "The problem was made so that the minimum-norm solution is good and the sign of X'y is bad. It shows that "
        "implicit biases differ, not which one is better on natural data."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """One computation for all seeds."""
        return context.once("fits", self._measure)

    def _measure(self) -> pandas.DataFrame:
        import numpy as np

        from thalweg_plugins.claims.overfitting._wilson import SHARES, trained
        from thalweg_plugins.optimizers.first_order.sgd import SGD

        rows = Measurements()
        for setting, share in SHARES.items():
            fit = trained(SGD(), share, STEPS, lr=0.3)
            least = fit.least_norm
            away = float(np.linalg.norm(fit.w - least) / np.linalg.norm(least))
            rows.add("relative distance from the minimum-norm solution", away, setting=setting)
            rows.add("test accuracy", fit.test_accuracy, setting=setting)
            literal = trained(SGD(), share, STEPS, literal=True, lr=0.3)
            rows.add("test accuracy, literal generator", literal.test_accuracy, setting=setting)
            for series, w in (("gradient descent", fit.w), ("minimum norm", least)):
                ranked = np.sort(np.abs(w))[::-1]
                grid = log_grid(int((least != 0).sum()), 60)
                rows.curve("|w| by rank", grid, ranked[np.array(grid) - 1], setting=setting, series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The weights by their size, for p = 0.6."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "|w| by rank", curve=True)
        rows = rows[rows["setting"] == "p = 0.6"]
        title = "Weights by size, p = 0.6"
        return curves(rows, title, "rank of the weight", "|w|", log_x=True, log_y=True, bands=False)
