"""Online problems on which Adam does not converge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.errors import UserError
from thalweg_plugins.problems._targets import baseline


class RKK18(Problem):
    """Step t = 1, 2, ... pays f_t(x) = c_t x for x in [-1, 1] and sees the derivative c_t. Then x is projected.

    - ``periodic`` (theorem 1): c_t = c if t mod 3 = 1 else -1, with c > 2;
    - ``online`` (the synthetic experiments): c_t = 1010 if t mod 101 = 1 else -10;
    - ``stochastic`` (the synthetic experiments): c_t = 1010 with probability 0.01, else -10.

    In all three versions the mean of c_t is positive, so that x = -1 is best. ``average_regret`` is the loss paid so
    far less the loss of the best fixed x, divided by the number of steps. ``loss`` is mean(c_t) x. The batch size has
    no effect: a step is one f_t, and an epoch is about a thousand steps.
    """

    name = "rkk18"
    summary = "three online linear problems on an interval on which Adam does not converge"
    equation = "f_t(x) = c_t x on [-1, 1];  average regret = 1/T [sum_t f_t(x_t) - min_x sum_t f_t(x)]"
    source = "Reddi, Kale & Kumar 2018, theorem 1 and the synthetic experiments"
    licence = "made by the formula"
    metrics = (Metric("average_regret", "lower"), Metric("loss", "lower"), Metric("x", "lower"))
    splits = ("train",)
    budget = Budget(steps=30_000)
    target = Target(metric="average_regret", value=0.000187)
    target_source = baseline("point")
    options = (
        Option("version", "periodic", ("periodic", "online", "stochastic"), "which sequence of slopes c_t"),
        Option("c", 3.0, "(2, inf)", "slope of every third function of the periodic version"),
        Option("start", 1.0, "[-1, 1]", "the first x"),
    )

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """A function of one number. UserError where c is set for a version without c."""
        if options["version"] != "periodic" and options["c"] != 3.0:
            raise UserError(f"c has no effect with version = {options['version']!r}: leave it out")
        return Shape("function", (), (1,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of staying at the start for ever."""
        x: float = options["start"]
        # the mean of c_t
        mean: float = {"periodic": (options["c"] - 2) / 3, "online": 10 / 101, "stochastic": 0.2}[options["version"]]
        return {"average_regret": mean * x + mean, "loss": mean * x, "x": x}[metric]

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The sequence of slopes."""
        from thalweg_plugins.problems._online import OnlineLinear, Periodic, Slopes, Stochastic

        slopes: Slopes
        match options["version"]:
            case "periodic":
                slopes = Periodic(options["c"], -1.0, 3)
            case "online":
                slopes = Periodic(1010.0, -10.0, 101)
            case _:
                slopes = Stochastic(1010.0, -10.0, 0.01)
        return OnlineLinear(slopes, self.metrics, options["start"], context.device, context.dtype)
