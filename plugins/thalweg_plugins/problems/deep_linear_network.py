"""The loss of a deep linear network as an analytic function of all weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import LoadedProblem, Option, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg_plugins.problems._functions import FunctionProblem
from thalweg_plugins.problems._targets import baseline

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class DeepLinearNetwork(FunctionProblem):
    """Fits a matrix A by a product of ``depth`` square matrices, as a linear network on whitened inputs does.

    x holds W_1, ..., W_depth one after the other, each of shape (dim, dim) in row-major order. A is Q_1 diag(1, ...,
    1/dim) Q_2 with random orthogonal matrices, which are drawn once from ``instance``. The function is not convex. It
    has a saddle at 0, whose order grows with depth, and no bad local minima; its minimum is 0, wherever the product is
    A. The start has independent normal weights of variance gain^2 / dim, drawn from the trial's seed.
    """

    name = "deep-linear-network"
    summary = "a product of matrices fitted to a matrix: the loss of a deep linear network with whitened inputs"
    equation = "f(W_1, ..., W_L) = 1/2 ||W_L ... W_1 - A||_F^2"
    source = "Saxe et al. 2014, equation 3; no bad local minima: Kawaguchi 2016"
    budget = Budget(steps=200)
    target = Target(metric="loss", value=1e-06)
    target_source = baseline("point")
    options = (
        Option("dim", 4, "[1, inf)", "rows and columns of each matrix"),
        Option("depth", 3, "[1, inf)", "number of matrices"),
        Option("gain", 0.5, "(0, inf)", "scale of the initial weights"),
        Option("instance", 0, "[0, inf)", "draws A"),
    )

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """A function of all weights."""
        return Shape("function", (), (options["depth"] * options["dim"] ** 2,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """The mean over starts, 1/2 (||A||_F^2 + dim gain^(2 depth))."""
        dim: int = options["dim"]
        product: float = dim * options["gain"] ** (2 * options["depth"])
        target: float = sum(i**-2.0 for i in range(1, dim + 1))
        return 0.5 * (target + product)

    def memory(self, options: Mapping[str, Any]) -> int:
        """A start and a minimum in all weights, and A with its two factors, in float64."""
        return int(8 * (2 * options["depth"] + 3) * options["dim"] ** 2)

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function, its derivatives and one of its minima."""
        import torch

        from thalweg.contracts.analytic import AnalyticFunction

        n, depth = options["dim"], options["depth"]
        generator = torch.Generator().manual_seed(options["instance"])
        q1, q2 = torch.linalg.qr(torch.randn(2, n, n, generator=generator, dtype=torch.float64)).Q
        singular_values = 1 / torch.arange(1, n + 1, dtype=torch.float64)
        target = (q1 * singular_values) @ q2
        on_device = target.to(context.device, context.dtype)

        def matrices(x: Tensor) -> Tensor:
            return x.view(depth, n, n)

        def f(x: Tensor) -> Tensor:
            w = matrices(x)
            product = w[0]
            for matrix in w[1:]:
                product = matrix @ product
            residual: Tensor = product - on_device.to(product)
            return 0.5 * residual.square().sum()

        def start(generator: torch.Generator) -> Tensor:
            x = torch.randn(depth * n * n, generator=generator, dtype=torch.float64)
            return x.mul_(options["gain"] / n**0.5)

        def gradient(x: Tensor) -> Tensor:
            w = matrices(x)
            error = _product(w, 0, depth) - target.to(x)
            return torch.cat(
                [(_product(w, k + 1, depth).T @ error @ _product(w, 0, k).T).reshape(-1) for k in range(depth)]
            )

        def hessian(x: Tensor) -> Tensor:
            w = matrices(x)
            error = _product(w, 0, depth) - target.to(x)
            # d(product)/d(W_k) as a matrix from row-major W_k to the row-major product
            jacobian = torch.cat(
                [torch.kron(_product(w, k + 1, depth), _product(w, 0, k).T.contiguous()) for k in range(depth)], 1
            )
            h = jacobian.T @ jacobian
            size = n * n
            for m in range(depth):
                for k in range(m):
                    # the product is linear in each pair: d2f / dW_m[p, q] dW_k[r, s] = T[p, s] C[q, r] besides
                    t = _product(w, m + 1, depth).T @ error @ _product(w, 0, k).T
                    c = _product(w, k + 1, m)
                    block = torch.einsum("ps,qr->pqrs", t, c).reshape(size, size)
                    h[m * size : (m + 1) * size, k * size : (k + 1) * size] += block
                    h[k * size : (k + 1) * size, m * size : (m + 1) * size] += block.T
            return h

        minimizer = torch.eye(n, dtype=torch.float64).repeat(depth, 1, 1)
        minimizer[-1] = target
        return AnalyticFunction(
            f, start, self.metrics[0], gradient, hessian, minimizers=(minimizer.reshape(-1),), minimum=0.0
        )


def _product(w: Tensor, first: int, last: int) -> Tensor:
    """W_{last-1} ... W_first; the identity where this product has no factor."""
    import torch

    product = torch.eye(w.shape[-1], dtype=w.dtype, device=w.device)
    for matrix in w[first:last]:
        product = matrix @ product
    return product
