"""E2: adaptive methods find the signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.grids import log_grid
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

STEPS = 1000
EPS = 1e-10


class E2(LectureClaim):
    """The cosine of adaptive methods' weights with sign(X'y), and their accuracy on new examples."""

    name = "E2"
    summary = "with full batches adaptive methods reach w proportional to sign(X'y) and predict the majority"
    statement = (
        "Adaptive methods find another solution than gradient descent: one that fits the training data and predicts "
        "only the majority."
    )
    source = "Wilson et al. 2017, lemma 3.1 and section 3.3"
    method = (
        "The problem of E1, full batches from zero, 1,000 steps of the registered optimizers in float64 with eps = "
        "1e-10, far below 2/n. Rates: AdaGrad 0.02; RMSProp 0.003 and falling by 1% a step, because a constant rate "
        "would let it hover; Adam 0.003 and falling by 0.5% a step. Nothing is random: the seeds repeat one "
        "computation. The lecture's literal generator is reported for Adam."
    )
    caveat = (
        "It needs full batches, a start at zero and an eps far below the gradients: see E3. With a batch size of 1, a "
        "larger eps or another start the coordinates no longer move alike."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """One computation for all seeds."""
        return context.once("fits", self._measure)

    def _measure(self) -> pandas.DataFrame:
        import numpy as np

        from thalweg.contracts import Optimizer
        from thalweg_plugins.claims.overfitting._wilson import SCHEDULE, SHARES, majority, trained
        from thalweg_plugins.optimizers.first_order.adagrad import Adagrad
        from thalweg_plugins.optimizers.first_order.adam import Adam
        from thalweg_plugins.optimizers.first_order.rmsprop import RMSprop

        rows = Measurements()
        methods: tuple[Optimizer, ...] = (Adagrad(), RMSprop(), Adam())
        for setting, share in SHARES.items():
            for optimizer in methods:
                series = optimizer.name
                lr, decay = SCHEDULE[series]
                fit = trained(optimizer, share, STEPS, decay, lr=lr, eps=EPS)
                signs = fit.signs
                rows.add("cosine with sign(X'y)", fit.cosine, setting=setting, series=series)
                over = fit.test_accuracy - majority(share)
                rows.add("test accuracy minus majority share", over, setting=setting, series=series)
                rows.add("training accuracy", fit.train_accuracy, setting=setting, series=series)
                ranked = np.sort(np.abs(fit.w))[::-1]
                grid = log_grid(int((signs != 0).sum()), 60)
                rows.curve("|w| by rank", grid, ranked[np.array(grid) - 1], setting=setting, series=series)
            least = np.sort(np.abs(fit.least_norm))[::-1]
            name = "minimum norm"
            rows.curve("|w| by rank", grid, least[np.array(grid) - 1], setting=setting, series=name)
            lr, decay = SCHEDULE["adam"]
            literal = trained(Adam(), share, STEPS, decay, literal=True, lr=lr, eps=EPS)
            over = literal.test_accuracy - majority(share)
            name = "test accuracy minus majority share, literal generator"
            rows.add(name, over, setting=setting, series="adam")
            name = "cosine with sign(X'y), literal generator"
            rows.add(name, literal.cosine, setting=setting, series="adam")
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The weights by their size, for p = 0.6: nearly equal, unlike those of the minimum-norm solution."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "|w| by rank", curve=True)
        rows = rows[rows["setting"] == "p = 0.6"]
        title = "Weights by size, p = 0.6"
        return curves(rows, title, "rank of the weight", "|w|", log_x=True, log_y=True, optimizers=True, bands=False)
