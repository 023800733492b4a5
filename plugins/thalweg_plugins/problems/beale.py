"""Beale's function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Option
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg_plugins.problems._functions import FunctionProblem, around
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    from torch import Tensor


class Beale(FunctionProblem):
    """Two variables, steep walls and a flat region around the minimum 0 at (3, 1/2).

    The start is (1, 1) plus N(0, spread^2), drawn from the trial's seed.
    """

    name = "beale"
    summary = "Beale's function of two variables: steep walls around a flat bottom"
    equation = "f(x, y) = sum_k (c_k - x (1 - y^k))^2,  c = (1.5, 2.25, 2.625)"
    source = "Beale 1958; with the start (1, 1): More, Garbow & Hillstrom 1981, problem 5"
    budget = Budget(steps=200)
    target = Target(metric="loss", value=1e-06)
    target_source = baseline("point")
    options = (Option("spread", 0.1, "[0, inf)", "deviation of the start from (1, 1)"),)

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """f(1, 1)."""
        return 1.5**2 + 2.25**2 + 2.625**2

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function, its derivatives and its minimum."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction

        c = torch.tensor([1.5, 2.25, 2.625], device=context.device, dtype=context.dtype)
        k = torch.arange(1, 4, device=context.device, dtype=context.dtype)

        def f(p: Tensor) -> Tensor:
            x, y = p
            r: Tensor = c.to(p) - x * (1 - y ** k.to(p))
            return r.square().sum()

        def residuals(p: Tensor) -> tuple[Tensor, Tensor]:
            """The three residuals r and their derivatives in x and y, (3, 2)."""
            x, y = p
            power = k.to(p)
            r = c.to(p) - x * (1 - y**power)
            return r, torch.stack([y**power - 1, x * power * y ** (power - 1)], 1)

        def gradient(p: Tensor) -> Tensor:
            r, jacobian = residuals(p)
            return 2 * jacobian.T @ r

        def hessian(p: Tensor) -> Tensor:
            r, jacobian = residuals(p)
            x, y = p
            # d2 r_1 / dy2 is zero for every y
            mixed = torch.stack([torch.ones_like(y), 2 * y, 3 * y**2])
            twice = torch.stack([torch.zeros_like(y), 2 * x, 6 * x * y])
            second = torch.stack([torch.stack([torch.zeros_like(mixed), mixed], 1), torch.stack([mixed, twice], 1)], 1)
            return 2 * jacobian.T @ jacobian + 2 * torch.einsum("k,kij->ij", r, second)

        return AnalyticFunction(
            f,
            lambda generator: around(torch.ones(2, dtype=torch.float64), options["spread"], generator),
            self.metrics[0],
            gradient,
            hessian,
            minimizers=(torch.tensor([3.0, 0.5], dtype=torch.float64),),
            minimum=0.0,
        )
