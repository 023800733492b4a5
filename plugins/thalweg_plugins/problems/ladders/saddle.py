"""The ladder of saddles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg_plugins.problems.ladders._rung import DIM, Rung


class SaddleRung(Rung):
    """A saddle whose two descending directions get flatter with each level.

    At the saddle the curvature is -g in two directions and 1 in eight. The start lies 10^-3 beside the ridge. Gradient
    descent with the rate lr grows that distance to the minimum's, (2 / g)^(1/2), in about
    log(10^3 (2 / g)^(1/2)) / (lr g) steps.
    """

    name = "ladder-saddle"
    summary = "a saddle whose descending directions get flatter with each level"
    equation = "f(x) = 1/2 sum_{i <= 2} (1 - x_i^2 g / 2)^2 + 1/2 sum_{i > 2} x_i^2,  g = 10^(-level / 2)"
    source = "strict saddles: Ge et al. 2015; in deep networks: Dauphin et al. 2014"

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The saddle of a level."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction
        from thalweg_plugins.problems.ladders._functions import normal

        g = 10.0 ** (-options["level"] / 2)

        def f(x: torch.Tensor) -> torch.Tensor:
            valleys: torch.Tensor = (1 - x[:2].square() * g / 2).square().sum()
            return 0.5 * (valleys + x[2:].square().sum())

        def start(generator: torch.Generator) -> torch.Tensor:
            x = normal(generator, DIM)
            x[:2] *= 1e-3
            return x

        return AnalyticFunction(f, start, self.metrics[0], minimum=0.0)
