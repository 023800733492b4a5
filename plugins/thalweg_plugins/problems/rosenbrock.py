"""Rosenbrock's banana-shaped valley."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Option
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg_plugins.problems._functions import DIM, FunctionProblem, around
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    from torch import Tensor


class Rosenbrock(FunctionProblem):
    """A curved valley with a flat floor: finding it is easy, following it is not.

    With more than two variables each variable is coupled to the next. From four variables on, f has a local minimum
    near (-1, 1, ..., 1) besides the global minimum (Shang & Qiu 2006).

    The start is (-1.2, 1, -1.2, 1, ...) plus N(0, spread^2), drawn from the trial's seed. The global minimum is 0 at
    (1, ..., 1).
    """

    name = "rosenbrock"
    summary = "Rosenbrock's function: a narrow curved valley with a flat floor"
    equation = "f(x) = sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2,  i = 1..dim-1"
    source = "Rosenbrock 1960, with its start; more than two variables: Shang & Qiu 2006"
    budget = Budget(steps=1000)
    target = Target(metric="loss", value=2.53e-05)
    target_source = baseline("point")
    options = (DIM, Option("spread", 0.1, "[0, inf)", "deviation of the start from (-1.2, 1)"))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """f at the start without noise."""
        x = [(-1.2, 1.0)[i % 2] for i in range(options["dim"])]
        return sum(100 * (after - before**2) ** 2 + (1 - before) ** 2 for before, after in itertools.pairwise(x))

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function, its derivatives and its minimum."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction

        dim = options["dim"]
        start = torch.tensor([-1.2, 1.0], dtype=torch.float64).repeat(dim)[:dim]

        def f(x: Tensor) -> Tensor:
            return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

        def gradient(x: Tensor) -> Tensor:
            g = torch.zeros_like(x)
            valley = x[1:] - x[:-1] ** 2
            g[:-1] = -400 * x[:-1] * valley - 2 * (1 - x[:-1])
            g[1:] += 200 * valley
            return g

        def hessian(x: Tensor) -> Tensor:
            diagonal = torch.zeros_like(x)
            diagonal[:-1] = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
            diagonal[1:] += 200
            beside = torch.diag(-400 * x[:-1], 1)
            return torch.diag(diagonal) + beside + beside.T

        return AnalyticFunction(
            f,
            lambda generator: around(start, options["spread"], generator),
            self.metrics[0],
            gradient,
            hessian,
            minimizers=(torch.ones(dim, dtype=torch.float64),),
            minimum=0.0,
        )
