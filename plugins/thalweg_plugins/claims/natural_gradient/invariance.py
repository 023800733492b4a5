"""B3: the natural gradient does not depend on the parameters that describe the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

KAPPA = 100.0


class B3(LectureClaim):
    """Steps in two parameterisations of one model."""

    name = "B3"
    summary = "natural gradient steps agree under a linear map, and for small steps under a nonlinear one"
    statement = "The natural gradient does not depend on how the model is parameterised; the gradient does."
    source = "Amari 1998; Martens 2020"
    method = (
        "A network of 8, 6 and 10 units with tanh, whose last logit is 0 so that the Fisher matrix F is invertible. "
        "500 digits of 8 principal components, float64. A seed draws the digits and the first weights, and 200 steps "
        "of gradient descent (lr = 0.5) come first. Linear: theta = A phi with singular values from 1 to 100, drawn "
        "by the seed; the difference of the two steps is relative to the step, in theta. Nonlinear: theta = "
        "sinh(phi), elementwise; ||out1 - out2|| / ||out1 - out0|| of the outputs after one step, for five steps lr "
        "from 1e-4 to 1e-2, and its slope in lr on logarithms: 1 for the natural gradient, 0 for gradient descent. "
        "The damping is 1e-14 for the linear map and 1e-12 for the nonlinear one."
    )
    caveat = (
        "Only infinitesimal steps are invariant under nonlinear maps. Damping is not invariant, and neither are "
        "approximations of F such as K-FAC's, apart from special maps."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Step in both parameterisations."""
        import copy

        import numpy as np
        import torch

        from thalweg.contracts import Optimizer
        from thalweg_plugins.claims.natural_gradient._small import Reparametrised, case
        from thalweg_plugins.optimizers.first_order.sgd import SGD
        from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradient

        given = case(seed)
        w, rows = given.w, Measurements()
        generator = torch.Generator().manual_seed(1000 + seed)
        draws = (torch.randn(len(w), len(w), generator=generator, dtype=w.dtype) for _ in range(2))
        q, r = (torch.linalg.qr(drawn).Q for drawn in draws)
        a = (q * torch.logspace(0, float(np.log10(KAPPA)), len(w), dtype=w.dtype)) @ r

        methods: dict[str, tuple[Optimizer, dict[str, float]]] = {
            "natural gradient": (NaturalGradient(), {"damping": 1e-14}),
            "gradient descent": (SGD(), {}),
        }
        for series, (optimizer, more) in methods.items():
            plain = given.stepped(optimizer, lr=1.0, **more)
            mapped = Reparametrised(copy.deepcopy(given.module), lambda phi: a @ phi, torch.linalg.solve(a, w))
            run = given.run(optimizer, mapped, lr=1.0, **more)
            run.step()
            difference = float((a @ run.w - w - plain).norm() / plain.norm())
            rows.add("relative difference of the steps, linear map", difference, series=series)

        rates = np.geomspace(1e-4, 1e-2, 5)
        methods["natural gradient"] = (NaturalGradient(), {"damping": 1e-12})
        start = given.logits(w).detach()
        for series, (optimizer, more) in methods.items():
            differences = []
            for lr in rates:
                one = given.logits(w + given.stepped(optimizer, lr=float(lr), **more)).detach()
                mapped = Reparametrised(copy.deepcopy(given.module), torch.sinh, torch.asinh(w))
                run = given.run(optimizer, mapped, lr=float(lr), **more)
                run.step()
                two = given.logits(run.w.sinh()).detach()
                differences.append(float((one - two).norm() / (one - start).norm()))
            slope = np.polyfit(np.log(rates), np.log(differences), 1)[0]
            rows.add("log-slope of the difference of outputs, theta = sinh(phi)", slope, series=series)
            rows.curve("relative difference of outputs", rates, differences, series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The difference of the outputs against the step."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "relative difference of outputs", curve=True)
        title = "One step in theta and in phi, theta = sinh(phi)"
        return curves(rows, title, "lr", "relative difference of outputs", log_x=True, log_y=True)
