"""The ladder of condition numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg_plugins.problems.ladders._rung import DIM, Rung


class Conditioning(Rung):
    """f(x) = x' H x / 2 with eigenvalues from 1 / kappa to 1 and kappa = 10^level, in a random basis.

    The start is H^{-1/2} z with z ~ N(0, I). So every eigendirection has an equal share of the value, and the target
    asks for progress in the flattest direction too. Gradient descent needs about kappa steps, momentum its root.
    """

    name = "ladder-conditioning"
    summary = "a quadratic whose condition number grows tenfold with each level"
    equation = "f(x) = 1/2 x' H x,  lambda = geomspace(1 / kappa, 1, 10),  kappa = 10^level"
    source = "Nesterov 2004, section 2.1"

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The quadratic of a level."""
        from thalweg.contracts.analytic import AnalyticFunction
        from thalweg_plugins.problems.ladders._functions import bowl, normal, quadratic

        h, root = bowl(10.0 ** options["level"])
        return AnalyticFunction(
            quadratic(h),
            lambda generator: root @ normal(generator, DIM),
            self.metrics[0],
            gradient=lambda x: h.to(x) @ x,
            hessian=lambda x: h.to(x),
            minimum=0.0,
        )
