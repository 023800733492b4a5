"""The ladder of gradient noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem
from thalweg.contracts import LoadContext
from thalweg_plugins.problems.ladders._rung import DIM, Rung


class Noise(Rung):
    """A quadratic of condition number 10 with normal noise of deviation 0.1 2^level in every partial derivative.

    A constant rate must be small for the noise and large for the 400 steps. Averages of weights need no compromise.
    """

    name = "ladder-noise"
    summary = "a quadratic with normal gradient noise that doubles with each level"
    equation = "f(x; z) = 1/2 x' H x + sigma z' x,  z ~ N(0, I),  sigma = 0.1 2^level"
    source = "Bottou, Curtis & Nocedal 2018, section 4"

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The noisy quadratic of a level."""
        from thalweg_plugins.problems.ladders._functions import SampledFunction, bowl, normal, quadratic

        (h, root), sigma = bowl(10.0), 0.1 * 2.0 ** options["level"]
        f = quadratic(h)
        return SampledFunction(
            f,
            lambda x, z: f(x) + sigma * z @ x,
            lambda generator, steps: normal(generator, steps, DIM),
            lambda generator: root @ normal(generator, DIM),
            self.metrics[0],
        )
