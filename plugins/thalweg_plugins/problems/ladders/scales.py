"""The ladder of layers on different scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg_plugins.problems.ladders._rung import DIM, Rung


class Scales(Rung):
    """Two layers of five weights: f(x) = |a|^2 / 2 + |s b|^2 / 2 with s = 10^(level / 2).

    The start is a ~ N(0, I), b ~ N(0, I) / s, so both layers have equal shares of the value. The second layer's
    weights are s times smaller than the first layer's, and its gradients are s times larger. The benchmark holds the
    layers in two tensors (``architecture = { name = "point", tensors = 2 }``), so that a method may treat them apart.
    """

    name = "ladder-scales"
    summary = "two layers whose weights and gradients differ in scale, more with each level"
    equation = "f(a, b) = 1/2 |a|^2 + 1/2 |s b|^2,  a ~ N(0, I),  b ~ N(0, I / s^2),  s = 10^(level / 2)"
    source = "You, Gitman & Ginsburg 2017, arXiv:1708.03888, section 4"

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function of a level."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction
        from thalweg_plugins.problems.ladders._functions import normal

        scales = torch.ones(DIM, dtype=torch.float64)
        scales[DIM // 2 :] = 10.0 ** (options["level"] / 2)
        return AnalyticFunction(
            lambda x: 0.5 * (scales.to(x) * x).square().sum(),
            lambda generator: normal(generator, DIM) / scales,
            self.metrics[0],
            gradient=lambda x: scales.to(x).square() * x,
            minimum=0.0,
        )
