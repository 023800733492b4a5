"""Rastrigin's function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg_plugins.problems._functions import DIM, FunctionProblem
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    from torch import Tensor


class Rastrigin(FunctionProblem):
    """A bowl with a grid of local minima at distances of about one; the global minimum is 0 at the origin.

    The start is uniform on [-5.12, 5.12]^dim, drawn from the trial's seed.
    """

    name = "rastrigin"
    summary = "Rastrigin's function: a bowl with a grid of local minima"
    equation = "f(x) = sum_i 10 + x_i^2 - 10 cos(2 pi x_i)"
    source = "Rastrigin 1974; Muehlenbein, Schomisch & Born 1991"
    budget = Budget(steps=200)
    target = Target(metric="loss", value=4.98)
    target_source = baseline("point")
    options = (DIM,)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function, its derivatives and its minimum."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction

        dim, tau = options["dim"], 2 * math.pi

        def f(x: Tensor) -> Tensor:
            return (10 + x**2 - 10 * torch.cos(tau * x)).sum()

        def gradient(x: Tensor) -> Tensor:
            return 2 * x + 10 * tau * torch.sin(tau * x)

        def hessian(x: Tensor) -> Tensor:
            return torch.diag(2 + 10 * tau**2 * torch.cos(tau * x))

        return AnalyticFunction(
            f,
            lambda generator: (torch.rand(dim, generator=generator, dtype=torch.float64) - 0.5) * 10.24,
            self.metrics[0],
            gradient,
            hessian,
            minimizers=(torch.zeros(dim, dtype=torch.float64),),
            minimum=0.0,
        )
