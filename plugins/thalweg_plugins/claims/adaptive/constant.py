"""C2: steps under a constant gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.grids import log_grid
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

STEPS = 30_000
FROM = {"adagrad": 1_000, "rmsprop": 1_000, "adam": 10_000}
"""The first step of the fit: 10 / (1 - rho) with rho = 0.99 of RMSProp and 0.999 of Adam; AdaGrad has no rho."""


class C2(LectureClaim):
    """The slope of ln |step| in ln t."""

    name = "C2"
    summary = "under a constant gradient AdaGrad's step falls as 1/sqrt(t), RMSProp's and Adam's do not"
    statement = (
        "AdaGrad's steps die out because its sum of squares only grows; the running means of RMSProp and Adam forget."
    )
    source = "Duchi, Hazan & Singer 2011; Tieleman & Hinton 2012, lecture 6.5; Kingma & Ba 2015"
    method = (
        "The registered optimizers take 30,000 steps at their defaults under the constant gradient 0.7. The slope of "
        "ln |step| in ln t is fitted by least squares from t = 10/(1 - rho) on: from 1,000 for RMSProp (rho = 0.99) "
        "and for AdaGrad, and from 10,000 for Adam (beta2 = 0.999). Nothing is random, so there is one seed."
    )
    caveat = (
        "Whether steps that do not die out are good is another question: with noisy gradients a constant step does "
        "not converge, and a schedule must bring it down."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Take the steps and fit their slope."""
        import numpy as np
        import torch

        from thalweg.contracts import Optimizer
        from thalweg.contracts.analytic import AnalyticFunction
        from thalweg_plugins.claims.stepping import Steps, point
        from thalweg_plugins.optimizers.first_order.adagrad import Adagrad
        from thalweg_plugins.optimizers.first_order.adam import Adam
        from thalweg_plugins.optimizers.first_order.rmsprop import RMSprop

        problem = AnalyticFunction(lambda x: 0.7 * x.sum(), lambda _: torch.zeros(1).double())
        rows = Measurements()
        methods: tuple[Optimizer, ...] = (Adagrad(), RMSprop(), Adam())
        for optimizer in methods:
            module = point(1)
            run = Steps(optimizer, problem, module)
            (x,) = module.parameters()
            sizes = np.empty(STEPS)
            for t in range(STEPS):
                with torch.no_grad():
                    x.zero_()  # from zero, so that the step is not rounded to the size of a weight
                run.step()
                sizes[t] = abs(float(x.detach()))
            times = np.arange(FROM[optimizer.name], STEPS + 1)
            slope = np.polyfit(np.log(times), np.log(sizes[times - 1]), 1)[0]
            rows.add("log-slope of the step in t", slope, series=optimizer.name)
            grid = log_grid(STEPS)
            share = sizes / sizes[0]
            rows.curve("step over first step", grid, share[np.array(grid) - 1], series=optimizer.name)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The step against t."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "step over first step", curve=True)
        return curves(
            rows,
            "Steps under a constant gradient",
            "step t",
            "step / first step",
            log_x=True,
            log_y=True,
            optimizers=True,
        )
