"""The ladder of sparse gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg_plugins.problems.ladders._rung import DIM, Rung

BATCH = 32
"""Examples in a step."""


class Sparse(Rung):
    """Ten features, of which each example has one, and which get rarer with each level.

    Feature i has the probability p_i, a geometric sequence whose ends differ by the factor 10^(2 level / 3). A step
    sees 32 examples: f(x; n) = 1/2 sum_i (n_i / 32) x_i^2 with n_i examples of feature i. The value, and
    a full batch, count all features alike: 1/2 sum_i x_i^2.
    """

    name = "ladder-sparse"
    summary = "features that get rarer with each level, and all count alike"
    equation = "f(x; n) = 1/2 sum_i n_i / 32 x_i^2,  n ~ multinomial(32, p),  value = 1/2 sum_i x_i^2"
    source = "Duchi, Hazan & Singer 2011, section 1.3"

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The probabilities of a level."""
        import torch

        from thalweg_plugins.problems.ladders._functions import SampledFunction, normal

        shares = torch.logspace(0, -2 * options["level"] / 3, DIM, dtype=torch.float64)
        shares /= shares.sum()

        def draws(generator: torch.Generator, steps: int) -> torch.Tensor:
            seen = torch.multinomial(shares, steps * BATCH, replacement=True, generator=generator)
            counts = torch.nn.functional.one_hot(seen.view(steps, BATCH), DIM).sum(dim=1)
            return counts.double() / BATCH

        return SampledFunction(
            lambda x: 0.5 * x.square().sum(),
            lambda x, z: 0.5 * (z * x.square()).sum(),
            draws,
            lambda generator: normal(generator, DIM),
            self.metrics[0],
        )
