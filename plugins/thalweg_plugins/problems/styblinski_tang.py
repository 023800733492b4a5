"""The Styblinski-Tang function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Metric
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg_plugins.problems._functions import DIM, FunctionProblem
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    from torch import Tensor


class StyblinskiTang(FunctionProblem):
    """A quartic with 2^dim minima, one in each orthant.

    At the deepest minimum every x_i is -2.9035, the lowest root of 4 x^3 - 32 x + 5 = 0, and f is -39.16617 dim. The
    start is uniform on [-5, 5]^dim, drawn from the trial's seed.
    """

    name = "styblinski-tang"
    summary = "the Styblinski-Tang function: a quartic with a minimum in each orthant, of which one is the deepest"
    equation = "f(x) = 1/2 sum_i x_i^4 - 16 x_i^2 + 5 x_i"
    source = "Styblinski & Tang 1990"
    metrics = (Metric("loss", "lower"),)
    budget = Budget(steps=100)
    target = Target(metric="loss", value=-64.1)
    target_source = baseline("point")
    options = (DIM,)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function, its derivatives and its minimum."""
        import numpy as np
        import torch

        from thalweg.contracts.analytic import AnalyticFunction

        dim = options["dim"]
        lowest = float(np.roots([4, 0, -32, 5]).real.min())
        minimizer = torch.full((dim,), lowest, dtype=torch.float64)

        def f(x: Tensor) -> Tensor:
            return 0.5 * (x**4 - 16 * x**2 + 5 * x).sum()

        def gradient(x: Tensor) -> Tensor:
            return 2 * x**3 - 16 * x + 2.5

        def hessian(x: Tensor) -> Tensor:
            return torch.diag(6 * x**2 - 16)

        return AnalyticFunction(
            f,
            lambda generator: (torch.rand(dim, generator=generator, dtype=torch.float64) - 0.5) * 10,
            self.metrics[0],
            gradient,
            hessian,
            minimizers=(minimizer,),
            minimum=float(f(minimizer)),
        )
