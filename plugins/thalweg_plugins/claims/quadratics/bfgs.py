"""A3: BFGS finds the inverse Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas


class A3(LectureClaim):
    """||B - H^-1|| / ||H^-1|| after d steps of the registered optimizer ``bfgs`` with exact line searches."""

    name = "A3"
    summary = "BFGS with exact line searches has the inverse Hessian after d steps"
    statement = (
        "BFGS builds the inverse Hessian from differences of gradients: on a quadratic of d variables in d steps."
    )
    source = "Nocedal & Wright 2006, theorem 6.4"
    method = (
        "The quadratics of A1. The registered optimizer bfgs takes exactly d steps with exact line searches from B0 = "
        "I, with no other rule to stop. The error of its matrix B is in the Frobenius norm, relative to H^-1, in "
        "float64."
    )
    caveat = (
        "The theorem needs exact line searches and a quadratic. With other line searches the steps may become good "
        "while B stays away from the inverse Hessian. A dense B takes d^2 numbers."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Take d steps and compare the matrices."""
        import numpy as np

        from thalweg_plugins.claims.quadratics._quadratic import SIZES, instance
        from thalweg_plugins.optimizers.second_order.bfgs import BFGS

        rows = Measurements()
        for setting, (dim, _) in SIZES.items():
            given = instance(setting, seed)
            inverse = np.linalg.inv(given.h)
            run = given.steps(BFGS(), line_search="exact")
            errors = []
            for _ in range(dim):
                run.step()
                found = run.stepper.state_dict()["inverse"].numpy()
                errors.append(float(np.linalg.norm(found - inverse) / np.linalg.norm(inverse)))
            rows.add("relative error of B", errors[-1], setting=setting)
            rows.curve("relative error by step", range(1, dim + 1), errors, series=setting)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The error against the steps."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "relative error by step", curve=True)
        return curves(rows, "BFGS finds the inverse Hessian", "steps", "||B - H^-1|| / ||H^-1||", log_y=True)
