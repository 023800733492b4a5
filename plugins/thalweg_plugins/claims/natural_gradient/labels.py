"""B2: the Fisher matrix does not see the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

SAMPLES = (1, 4, 16, 64, 256)
REPEATS = 2
DAMPING = 1e-3
DAMPINGS = (1e-4, 1e-3, 1e-2, 1e-1)


class B2(LectureClaim):
    """F with permuted labels, the error of its Monte Carlo estimate, and the empirical Fisher matrix."""

    name = "B2"
    summary = "F does not depend on labels, sampling estimates it to S^-1/2, and the empirical Fisher is another matrix"
    statement = (
        "The Fisher matrix is an expectation over the model's own labels; the data's labels do not enter. Labels "
        "drawn from the model estimate it."
    )
    source = "Martens 2020; Kunstner, Balles & Hennig 2019"
    method = (
        "A network of 8, 6 and 10 units with tanh, whose last logit is 0 so that the Fisher matrix F is invertible. "
        "500 digits of 8 principal components, float64. A seed draws the digits and the first weights, and 200 steps "
        "of gradient descent (lr = 0.5) come first. F = E[J'(diag p - pp')J] is computed exactly, and again with the "
        "labels permuted: the largest difference of the two must be 0. The Monte Carlo matrix has S = 1, 4, 16, 64, "
        "256 labels for each example, drawn from the model; its error is ||F_S - F||_F / ||F||_F, a mean over 2 "
        "draws, and its slope in S is fitted on logarithms. The empirical Fisher matrix has the true labels: the "
        "cosine of its preconditioned step with that of F is reported, at a damping of 1e-3."
    )
    caveat = (
        "The lecture calls the matrix with labels drawn from the model empirical; today the empirical Fisher matrix "
        "has true labels. The two approach each other where the model's probabilities are those of the data and "
        "examples are many; elsewhere they need not (Kunstner et al. 2019)."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Dense matrices of all kinds."""
        import numpy as np
        import torch

        from thalweg.contracts.losses import CrossEntropy
        from thalweg.contracts.supervised import CLASSIFICATION, Supervised
        from thalweg.curvature import Fisher, MCFisher
        from thalweg_plugins.claims.natural_gradient._small import Case, case
        from thalweg_plugins.optimizers.first_order.sgd import SGD
        from thalweg_plugins.optimizers.natural.empirical_fisher import EmpiricalFisher
        from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradientCG

        given = case(seed)
        rows = Measurements()
        run = given.run(SGD())
        fisher = Fisher(run.objective).dense()
        x, y = given.problem.data["train"]
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        permuted = Case(Supervised({"train": (x, y[order])}, CrossEntropy(), CLASSIFICATION), given.module)
        other = Fisher(permuted.run(SGD()).objective).dense()
        rows.add("change of F with permuted labels", float((other - fisher).abs().max()))

        errors = []
        for samples in SAMPLES:
            each = []
            for _ in range(REPEATS):
                run.t += 1  # another step has other draws
                run.begin()
                sampled = MCFisher(run.objective, samples).dense()
                each.append(float((sampled - fisher).norm() / fisher.norm()))
            errors.append(float(np.mean(each)))
        slope = np.polyfit(np.log(SAMPLES), np.log(errors), 1)[0]
        rows.add("log-slope of the Monte Carlo error in the number of samples", slope)
        rows.curve("relative error", SAMPLES, errors, series="Monte Carlo Fisher")

        for damping in DAMPINGS:
            exact = {"damping": damping, "tolerance": 1e-12, "max_iterations": 2000}
            steps = [given.stepped(method, **exact) for method in (NaturalGradientCG(), EmpiricalFisher())]
            cosine = float(torch.cosine_similarity(steps[0], steps[1], dim=0))
            if damping == DAMPING:
                rows.add("cosine of the steps of Fisher and empirical Fisher", cosine)
            rows.add("cosine of the steps by damping", cosine, x=damping)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The error of the Monte Carlo matrix against the number of samples."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "relative error", curve=True)
        title = "Error of the Fisher matrix from drawn labels"
        return curves(rows, title, "labels drawn for each example", "||F_S - F|| / ||F||", log_x=True, log_y=True)
