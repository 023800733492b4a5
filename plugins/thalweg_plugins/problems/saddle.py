"""A strict saddle between minima."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Option, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.errors import UserError
from thalweg_plugins.problems._functions import DIM, FunctionProblem
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    from torch import Tensor


class Saddle(FunctionProblem):
    """A strict saddle at the origin, with 2^descending minima of value 0 around the saddle.

    At the origin ``descending`` eigenvalues of the Hessian are -curvature, and the other eigenvalues are 1. The start
    lies near the ridge: the first ``descending`` coordinates are N(0, offset^2), the others N(0, 1), drawn from the
    trial's seed. Gradient descent needs about log(1 / offset) / (lr curvature) steps to leave the saddle. The saddle
    attracts Newton's method.
    """

    name = "saddle"
    summary = "a strict saddle between minima, approached along its ridge"
    equation = "f(x) = 1/4 sum_{i <= descending} (x_i^2 - c)^2 + 1/2 sum_{i > descending} x_i^2,  c = curvature"
    source = "strict saddles: Ge et al. 2015; in deep networks: Dauphin et al. 2014"
    budget = Budget(steps=100)
    target = Target(metric="loss", value=1.18e-06)
    target_source = baseline("point")
    options = (
        DIM,
        Option("descending", 1, "[1, inf)", "directions in which the saddle descends"),
        Option("curvature", 0.1, "(0, inf)", "minus the negative eigenvalues of the saddle's Hessian"),
        Option("offset", 1e-3, "(0, inf)", "scale of the start's distance from the ridge"),
    )

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """A function of a vector. UserError where ``descending`` exceeds ``dim``."""
        if options["descending"] > options["dim"]:
            raise UserError(f"descending = {options['descending']} is more than dim = {options['dim']}")
        return super().shape(options)

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """f at the saddle, which the starts lie above."""
        return float(options["descending"] * options["curvature"] ** 2 / 4)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function, its derivatives and one of its minima."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction

        dim: int = options["dim"]
        k: int = options["descending"]
        c: float = options["curvature"]

        def f(x: Tensor) -> Tensor:
            return 0.25 * (x[:k] ** 2 - c).square().sum() + 0.5 * x[k:].square().sum()

        def gradient(x: Tensor) -> Tensor:
            return torch.cat([x[:k] ** 3 - c * x[:k], x[k:]])

        def hessian(x: Tensor) -> Tensor:
            return torch.diag(torch.cat([3 * x[:k] ** 2 - c, torch.ones_like(x[k:])]))

        def start(generator: torch.Generator) -> Tensor:
            x = torch.randn(dim, generator=generator, dtype=torch.float64)
            x[:k] *= options["offset"]
            return x

        minimizer = torch.zeros(dim, dtype=torch.float64)
        minimizer[:k] = c**0.5
        return AnalyticFunction(
            f, start, self.metrics[0], gradient, hessian, minimizers=(minimizer, minimizer.neg()), minimum=0.0
        )
