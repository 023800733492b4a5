"""A quadratic with a known spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.errors import UserError
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Quadratic(Problem):
    """f(x) = 1/2 (x - x*)' H (x - x*), H = Q diag(lambda) Q' with eigenvalues from 1 to kappa.

    The eigenvalues are a geometric sequence, an arithmetic sequence, half ones and half kappas, or the values of the
    option ``eigenvalues``. Q is a random orthogonal matrix, the identity, or a rotation by 45 degrees in each plane of
    the first and the last variable, the second and the last but one, and so on. x* is a standard normal vector. Q and
    x* are drawn once from ``instance``. The start is x* + N(0, I), drawn from the trial's seed.
    """

    name = "quadratic"
    summary = "a convex quadratic whose Hessian has a chosen spectrum"
    equation = "f(x) = 1/2 (x - x*)' H (x - x*),  H = Q diag(lambda) Q',  lambda = geomspace(1, kappa, dim)"
    source = "Nocedal & Wright 2006, section 3.3"
    metrics = (Metric("loss", "lower", "log"),)
    splits = ("train",)
    budget = Budget(steps=200)
    target = Target(metric="loss", value=1e-06)
    target_source = baseline("point")
    options = (
        Option("dim", 20, "[1, inf)", "number of variables"),
        Option("kappa", 100.0, "[1, inf)", "condition number of the Hessian"),
        Option(
            "spectrum",
            "geometric",
            ("geometric", "arithmetic", "two-values", "given"),
            "how the eigenvalues lie between 1 and kappa; given: as in eigenvalues, without dim and kappa",
        ),
        Option("eigenvalues", (1.0, 100.0), "[0, inf)", "the eigenvalues with spectrum = given"),
        Option("rotation", "random", ("random", "none", "pairs"), "Q: random, the identity, or 45 degrees in planes"),
        Option("instance", 0, "[0, inf)", "draws Q and x*"),
    )

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """A function of a vector. UserError where an option is set that has no effect with this spectrum."""
        given = options["spectrum"] == "given"
        idle = ("dim", "kappa") if given else ("eigenvalues",)
        for option in self.options:
            if option.name in idle and options[option.name] != option.default:
                raise UserError(f"{option.name} has no effect with spectrum = {options['spectrum']!r}: leave it out")
        return Shape("function", (), (len(options["eigenvalues"]) if given else options["dim"],))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """The mean over starts, half the trace of H."""
        return float(self._spectrum(options).sum() / 2)

    def memory(self, options: Mapping[str, Any]) -> int:
        """Q, R and H in float64."""
        (dim,) = self.shape(options).output
        return 3 * 8 * dim * dim

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Draw Q and x*."""
        from torch import randn

        from thalweg.contracts.analytic import AnalyticFunction
        from thalweg.contracts.costs import Costs

        hessian, minimum = self.hessian_and_minimum(options)
        h = hessian.to(context.device, context.dtype)
        m = minimum.to(context.device, context.dtype)

        def f(x: Tensor) -> Tensor:
            offset = x - m.to(x)
            return 0.5 * offset @ (h.to(x) @ offset)

        return AnalyticFunction(
            f,
            lambda generator: minimum + randn(len(minimum), generator=generator).double(),
            self.metrics[0],
            gradient=lambda x: hessian.to(x) @ (x - minimum.to(x)),
            hessian=lambda x: hessian.to(x),
            minimizers=(minimum,),
            minimum=0.0,
            # H (x - x*) in f, and once more back
            costs=Costs.of_products(forward=1, gradient=2),
        )

    def hessian_and_minimum(self, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """H (dim, dim) and x* (dim,), in float64."""
        import torch

        generator = torch.Generator().manual_seed(options["instance"])
        eigenvalues = torch.from_numpy(self._spectrum(options))
        dim = len(eigenvalues)
        q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        # the signs make Q uniform over the orthogonal group (Mezzadri 2007)
        q = q * r.diagonal().sign()
        if options["rotation"] != "random":
            q = torch.eye(dim, dtype=torch.float64)
        if options["rotation"] == "pairs":
            for i in range(dim // 2):
                j = dim - 1 - i
                q[i, i] = q[j, j] = q[j, i] = 0.5**0.5
                q[i, j] = -(0.5**0.5)
        h = (q * eigenvalues) @ q.T
        return (h + h.T) / 2, torch.randn(dim, generator=generator, dtype=torch.float64)

    @staticmethod
    def _spectrum(options: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        import numpy as np

        dim, kappa = options["dim"], options["kappa"]
        match options["spectrum"]:
            case "geometric":
                return np.geomspace(1, kappa, dim)
            case "arithmetic":
                return np.linspace(1, kappa, dim)
            case "two-values":
                return np.where(np.arange(dim) < dim / 2, 1.0, kappa)
            case _:
                return np.asarray(options["eigenvalues"])
