"""The ladder of plateaus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg_plugins.problems.ladders._rung import DIM, Rung


class Plateau(Rung):
    """f(x) = 1/2 sum x_i^2 / (1 + x_i^2), whose start moves three times further out on the plateau with each level.

    At the distance d = 3^level of each coordinate, f is almost 5 and its partial derivatives are about d^-3.
    """

    name = "ladder-plateau"
    summary = "a bowl in a plateau, from a start three times further away with each level"
    equation = "f(x) = 1/2 sum_i x_i^2 / (1 + x_i^2),  |x_i| = 3^level (1 + z_i / 10) at the start"
    source = "Geman & McClure 1985, the redescending loss"

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The start of a level."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction
        from thalweg_plugins.problems.ladders._functions import normal

        distance = 3.0 ** options["level"]

        def f(x: torch.Tensor) -> torch.Tensor:
            squares = x.square()
            return 0.5 * (squares / (1 + squares)).sum()

        def start(generator: torch.Generator) -> torch.Tensor:
            signs = normal(generator, DIM).sign()
            found: torch.Tensor = distance * signs * (1 + normal(generator, DIM) / 10)
            return found

        return AnalyticFunction(f, start, self.metrics[0], minimum=0.0)
