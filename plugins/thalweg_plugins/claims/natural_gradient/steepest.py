"""B1: the natural gradient is steepest descent in KL divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

EPS = {"eps = 1e-2": 1e-2, "eps = 1e-3": 1e-3, "eps = 1e-4": 1e-4}


class B1(LectureClaim):
    """The cosine of argmin g'D + KL/eps with -eps F^-1 g."""

    name = "B1"
    summary = "the step that minimises gradient plus KL/eps approaches -eps F^-1 g for small eps"
    statement = (
        "The natural gradient is the direction of steepest descent where distance is KL divergence between the "
        "models' outputs."
    )
    source = "Amari 1998, theorem 1; Martens 2020, New insights and perspectives on the natural gradient method"
    method = (
        "A network of 8, 6 and 10 units with tanh, whose last logit is 0 so that the Fisher matrix F is invertible. "
        "500 digits of 8 principal components, float64. A seed draws the digits and the first weights, and 200 steps "
        "of gradient descent (lr = 0.5) come first. The minimiser of g'D + KL(p_w || p_(w+D))/eps is found by SciPy's "
        "trust-region method with exact Hessians. It is compared with the step of the registered optimizer "
        "natural-gradient at lr = eps with a damping of 1e-14. eps = 1e-4 decides; the picture has 1e-2 and 1e-3 too."
    )
    caveat = (
        "-F^-1 g minimises the quadratic model of g'D + KL. With unit weight on the exact KL there may be no "
        "minimiser, so the statement is about small steps. F must be invertible; usual networks need damping."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Minimise at each eps."""
        import numpy as np
        import scipy.optimize
        import torch
        from torch import Tensor

        from thalweg_plugins.claims.natural_gradient._small import case
        from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradient

        minimize: Any = scipy.optimize.minimize  # its stubs do not know the options of each method
        given = case(seed)
        w = given.w
        g = torch.func.grad(given.loss)(w).detach()
        rows = Measurements()
        for setting, eps in EPS.items():

            def objective(step: Tensor, eps: float = eps) -> Tensor:
                # divided by eps, so that the numbers are near one
                value: Tensor = (g @ step + given.divergence(w + step) / eps) / eps
                return value

            found = minimize(
                lambda d: float(objective(torch.from_numpy(d)).detach()),
                np.zeros(len(w)),
                jac=lambda d: torch.func.grad(objective)(torch.from_numpy(d)).detach().numpy(),
                hess=lambda d: torch.func.hessian(objective)(torch.from_numpy(d)).detach().numpy(),
                method="trust-exact",
                options={"gtol": 1e-7, "initial_trust_radius": 1e-3, "maxiter": 500},
            )
            left = float(np.linalg.norm(found.jac) / (float(g.norm()) / eps))
            step = given.stepped(NaturalGradient(), lr=eps, damping=1e-14).numpy()
            cosine = float(found.x @ step / np.linalg.norm(found.x) / np.linalg.norm(step))
            ended = left < 1e-6
            note = "" if ended else f"the minimiser was not found: gradient {left:.1e} of its first value"
            rows.add("cosine", cosine if ended else None, setting=setting, note=note)
            rows.add("1 - cosine", 1 - cosine if ended else None, x=eps, note=note)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """1 - cosine against eps."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "1 - cosine", curve=True)
        title = "Natural gradient and steepest descent in KL"
        return curves(rows, title, "eps", "1 - cosine of the two steps", log_x=True, log_y=True)
