"""The ladder of heavy-tailed gradient noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg_plugins.problems.ladders._rung import DIM, Rung

TAILS = (4.0, 3.0, 2.0, 1.5, 1.0, 0.8)
"""Degrees of freedom by level: no variance from level 3 on, no mean from level 5 on."""


class HeavyTails(Rung):
    """A quadratic of condition number 10 with noise of Student's t, whose tails get heavier with each level.

    Each partial derivative has independent noise z / 8 with 4, 3, 2, 1.5, 1 and 0.8 degrees of freedom. The noise has a
    variance up to level 2 and a mean up to level 4. The median of the derivative is right at every level.
    """

    name = "ladder-heavy-tails"
    summary = "a quadratic with gradient noise whose tails get heavier with each level"
    equation = "f(x; z) = 1/2 x' H x + z' x / 8,  z_i ~ t(nu),  nu = 4, 3, 2, 1.5, 1, 0.8"
    source = "heavy-tailed gradients: Simsekli, Sagun & Gurbuzbalaban 2019; Zhang et al. 2020, arXiv:1912.03194"

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The noisy quadratic of a level."""
        import numpy as np
        import torch

        from thalweg_plugins.problems.ladders._functions import SampledFunction, bowl, normal, quadratic

        (h, root), nu = bowl(10.0), TAILS[options["level"] - 1]
        f = quadratic(h)

        def draws(generator: torch.Generator, steps: int) -> torch.Tensor:
            numbers = np.random.default_rng(generator.initial_seed()).standard_t(nu, (steps, DIM))
            return torch.from_numpy(numbers)

        return SampledFunction(
            f,
            lambda x, z: f(x) + z @ x / 8,
            draws,
            lambda generator: root @ normal(generator, DIM),
            self.metrics[0],
        )
