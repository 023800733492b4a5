"""The ladder of moving minima."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem, Metric
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Target
from thalweg_plugins.problems.ladders._rung import DIM, SHARE, Rung


class Moving(Rung):
    """A quadratic of condition number 10 whose minimum runs in circles, twice as fast with each level.

    m(t) turns by 0.01 2^level in five planes, and the radius is such that a point that rests in the middle pays 5. The
    start is m(0). ``mean_loss`` is the mean of f(x_t - m(t)) over all steps so far. ``loss`` is what x pays in the mean
    over a circle.
    """

    name = "ladder-moving"
    summary = "a quadratic whose minimum moves, twice as fast with each level"
    equation = "f_t(x) = 1/2 (x - m(t))' H (x - m(t)),  m(t) on circles with 0.01 2^level radians a step"
    source = "Mokhtari et al. 2016, online optimization in dynamic environments"
    metrics = (Metric("mean_loss", "lower", "log"), Metric("loss", "lower", "log"))
    target = Target(metric="mean_loss", value=SHARE * Rung.START)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The path of a level."""
        import torch

        from thalweg_plugins.problems.ladders._functions import MovingFunction, bowl, quadratic

        (h, _), speed = bowl(10.0), 0.01 * 2.0 ** options["level"]
        # m(t) = r (u cos + v sin) has the mean of m' H m / 2 over a circle r^2 (u' H u + v' H v) / 4
        phases = torch.arange(DIM // 2, dtype=torch.float64)
        u, v = torch.cat([phases.cos(), phases.sin()]), torch.cat([-phases.sin(), phases.cos()])
        radius = math.sqrt(4 * self.START / float(u @ h @ u + v @ h @ v))

        def path(step: int) -> torch.Tensor:
            return radius * (u * math.cos(speed * step) + v * math.sin(speed * step))

        f = quadratic(h)
        return MovingFunction(f, path, lambda x: f(x) + self.START, lambda generator: path(0), self.metrics)
