"""A1: Newton's method takes one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

STEPS = 3


class A1(LectureClaim):
    """||g(x1)|| / ||g(x0)|| after one step of the registered optimizer ``newton`` with step 1."""

    name = "A1"
    summary = "Newton's method with step 1 reaches the minimum of a quadratic in one step"
    statement = "On a quadratic function one step of Newton's method leads to the minimum, however badly it is scaled."
    source = "Nocedal & Wright 2006, section 2.2"
    method = (
        "f = 1/2 (x - x*)'H(x - x*) with H = Q diag(geomspace(1, kappa, d)) Q' in float64. A seed draws the random "
        "orthogonal Q, x* ~ N(0, I) and the start x0 = x* + N(0, I). The registered optimizer newton takes steps at "
        "its defaults (step 1, no damping beyond 1e-12). The gradient after the first step is divided by the first "
        "gradient."
    )
    caveat = (
        "The statement is exact only for quadratics with a positive definite Hessian. Elsewhere a step of 1 may lead "
        "uphill. With n weights a dense Hessian costs n^2 numbers and n^3 operations."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Take three steps; the first one decides."""
        import numpy as np

        from thalweg_plugins.claims.quadratics._quadratic import SIZES, instance
        from thalweg_plugins.optimizers.second_order.newton import Newton

        rows = Measurements()
        for setting in SIZES:
            given = instance(setting, seed)
            gradient = given.problem.gradient
            assert gradient is not None
            run = given.steps(Newton())
            norms = [float(gradient(run.w).norm())]
            for _ in range(STEPS):
                run.step()
                norms.append(float(gradient(run.w).norm()))
            relative = np.array(norms) / norms[0]
            rows.add("relative gradient after one step", relative[1], setting=setting)
            rows.curve("relative gradient", range(STEPS + 1), relative, series=setting)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The gradient against the steps."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "relative gradient", curve=True)
        return curves(rows, "Newton's method on a quadratic", "steps", "||g|| / ||g at the start||", log_y=True)
