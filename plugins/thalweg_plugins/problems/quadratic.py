"""A quadratic with a known spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext

if TYPE_CHECKING:
    from torch import Tensor


class Quadratic(Problem):
    """f(x) = 1/2 (x - x*)' H (x - x*), H = Q diag(lambda) Q' with lambda_i geometric from 1 to kappa.

    Q is a random orthogonal matrix and x* a standard normal vector, both drawn once from ``instance``; the start is
    x* + N(0, I), drawn from the trial's seed.
    """

    name = "quadratic"
    summary = "a convex quadratic whose Hessian has eigenvalues geometric from 1 to kappa"
    equation = "f(x) = 1/2 (x - x*)' H (x - x*),  H = Q diag(geomspace(1, kappa, dim)) Q'"
    source = "Nocedal & Wright 2006, section 3.3"
    metrics = (Metric("loss", "lower", "log"),)
    splits = ("train",)
    options = (
        Option("dim", 20, "[1, inf)", "number of variables"),
        Option("kappa", 100.0, "[1, inf)", "condition number of the Hessian"),
        Option("instance", 0, "[0, inf)", "draws Q and x*"),
    )

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """A function of a vector."""
        return Shape("function", (), (options["dim"],))

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Draw Q and x*."""
        from torch import randn

        from thalweg.contracts.analytic import AnalyticFunction

        hessian, minimum = self.hessian_and_minimum(options)
        h = hessian.to(context.device, context.dtype)
        m = minimum.to(context.device, context.dtype)

        def f(x: Tensor) -> Tensor:
            offset = x - m
            return 0.5 * offset @ (h @ offset)

        return AnalyticFunction(f, lambda generator: minimum + randn(len(minimum), generator=generator).double())

    def hessian_and_minimum(self, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """H (dim, dim) and x* (dim,), in float64."""
        import numpy as np
        import torch

        generator = torch.Generator().manual_seed(options["instance"])
        dim = options["dim"]
        q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        # the signs make Q uniform over the orthogonal group (Mezzadri 2007)
        q = q * r.diagonal().sign()
        eigenvalues = torch.from_numpy(np.geomspace(1, options["kappa"], dim))
        h = (q * eigenvalues) @ q.T
        return (h + h.T) / 2, torch.randn(dim, generator=generator, dtype=torch.float64)
