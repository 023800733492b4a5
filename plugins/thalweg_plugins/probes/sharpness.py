"""The rise of the loss around the trained weights: the largest found, and the average."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg.present.charts.palette import BLUE, VERMILION
from thalweg_plugins.probes._charts import color_and_dash, finite, heading, number_format, said
from thalweg_plugins.probes._objective import OPTIONS, chosen_objective

if TYPE_CHECKING:
    import altair
    import pandas
    import torch
    from torch import Tensor

    from thalweg.contracts.objective import Objective
    from thalweg.contracts.probe import ProbeContext

BOUND, AVERAGE, RESTART = "lower bound of the maximum", "Gaussian average", "restart"


class Sharpness(Probe):
    """A lower bound on max L(w + d) - L(w) over ||d_f|| <= rho ||w_f|| for each filter f, and the mean for Gaussian d.

    The maximum is over a product of balls, one for each filter. Gradient ascent finds a LOWER BOUND of the maximum: the
    highest loss on the way of ``restarts`` runs of ``steps`` steps d_f <- P(d_f + rho ||w_f|| g_f / ||g_f||), with P
    the projection onto the ball. The first run starts at d = 0, the others at random points on the spheres. The average
    is over d_f ~ N(0, rho^2 ||w_f||^2 / n_f I) for a filter of n_f numbers, so that the mean of ||d_f||^2 is rho^2
    ||w_f||^2. It uses ``pairs`` pairs of d and -d, and its 95% interval is Student's over the pairs.

    A filter is an index of a parameter's first dimension, as in ``surface``. Parameters of one dimension do not move,
    unless no trained parameter has two dimensions; then each parameter is one filter. With ``batch_norm = "batch"`` the
    result is invariant when a filter before batch norm is rescaled.

    With ``scale = "element"`` each number w_i of every trained parameter has a ball of its own: |d_i| <= rho |w_i|.
    This is the adaptive sharpness of Kwon et al. 2021 with the largest norm. Its average is over d_i ~ N(0, rho^2
    w_i^2).
    """

    name = "sharpness"
    summary = "rise of the loss within a relative distance of each filter: a lower bound of the worst, and the average"
    equation = "max L(w + d) - L(w),  ||d_f|| <= rho ||w_f||  (lower bound);  E L(w + d) - L(w),  d Gaussian"
    source = "Keskar et al. 2017, section 2.2.2; Kwon et al. 2021; filters: Li et al. 2018, section 4"
    revision = 3
    when = ("end",)
    weights_suffice = True
    needs = ("final",)
    options = (
        Option("rho", (0.01, 0.05), "(0, inf)", "radii, in norms of each filter"),
        Option("steps", 20, "[1, inf)", "ascent steps"),
        Option("restarts", 5, "[1, inf)", "runs of ascent"),
        Option("pairs", 50, "[2, inf)", "pairs of Gaussian points"),
        Option("scale", "filter", ("filter", "element"), "a ball for each filter, or for each number of the weights"),
        *OPTIONS,
    )
    columns = (
        Column("rho", "filter norms", "radius"),
        Column("quantity", "", "lower bound of the maximum, Gaussian average, or restart for each run's own best"),
        Column("restart", "", "number of the run; missing otherwise"),
        Column("rise", "loss", "L(w + d) - L(w); by ascent a LOWER BOUND of the maximum"),
        Column("low", "loss", "of the average: where the 95% interval begins"),
        Column("high", "loss", "of the average: where the 95% interval ends"),
        Column("loss", "loss", "L(w)"),
    )

    def points(self, options: Mapping[str, Any]) -> int:
        """The gradients of the ascents and the losses at pairs of points, for each radius."""
        return int(len(options["rho"]) * (options["restarts"] * options["steps"] + 2 * options["pairs"]))

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Ascents and averages for each radius."""
        import pandas as pd

        objective = chosen_objective(context, final=True)
        options, generator = context.options, context.generator
        ball = Ball(objective, options["scale"])
        rows: list[tuple[object, ...]] = []
        for rho in options["rho"]:
            best = [ball.ascend(rho, options["steps"], generator, run > 0) for run in range(options["restarts"])]
            rows.append((rho, BOUND, None, max(best), None, None, ball.loss))
            rows += [(rho, RESTART, run, rise, None, None, ball.loss) for run, rise in enumerate(best, start=1)]
            rows.append((rho, AVERAGE, None, *ball.average(rho, options["pairs"], generator), ball.loss))
        table = pd.DataFrame(rows, columns=[column.name for column in self.columns])
        return table.astype(dict.fromkeys(("restart", "rise", "low", "high"), float))

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Both rises against the radius, each on its own scale."""
        import altair as alt

        several = "trial" in table
        style = color_and_dash("trial", "trial", list(table["trial"].unique())) if several else {}
        charts, about = [], []
        for quantity, title, color in (
            (BOUND, "maximum, from below", VERMILION),
            (AVERAGE, "Gaussian average", BLUE),
        ):
            rows = table[table["quantity"] == quantity]
            rows = rows.assign(**{column: finite(rows[column]) for column in ("rise", "low", "high")})
            shown = rows[rows["rise"].notna()]
            if len(shown) < len(rows):
                about.append(f"{title}: {len(rows) - len(shown)} of {len(rows)} values are not finite, and left out")
            if shown.empty:
                continue
            x = alt.X("rho:Q", title="radius rho (filter norms)", scale=alt.Scale(zero=False))
            axis = alt.Axis(format=number_format(shown["rise"]), tickCount=6)
            y, low = (alt.Y(f"{name}:Q", title="L(w + d) - L(w)", axis=axis) for name in ("rise", "low"))
            base = alt.Chart(shown).encode(x=x)
            numbers = [alt.Tooltip(f"{name}:Q", format=".4g") for name in ("rho", "rise", "low", "high")]
            line = base.mark_line(color=color, point=alt.OverlayMarkDef(size=50, color=color))
            line = line.encode(y=y, tooltip=["quantity:N", *numbers], **style)
            whiskers = base.mark_rule(color=color).encode(y=low, y2="high:Q")
            if several:
                whiskers = whiskers.encode(color=style["color"])
            # the two rises differ much in size, and the average may be negative
            panel = alt.layer(*([whiskers] if quantity == AVERAGE else []), line)
            charts.append(panel.properties(width=300, height=260, title=title))
        if not charts:
            return said("Sharpness", "no rise is finite" if len(table) else "nothing was measured")
        explained = "the maximum is a lower bound, found by ascent; whiskers: 95% of the average; each on its own scale"
        made: alt.TopLevelMixin = alt.concat(*charts, columns=2, title=heading("Sharpness", [explained, *about]))
        return made


class Ball:
    """The balls around the filters of an objective's weights, or around each number of the weights.

    The weights of the objective's module are moved.

    Displacements are real vectors; a complex number counts as two real ones.

    Raises:
        ValueError: the loss is not finite at the weights, or every filter is zero.
    """

    def __init__(self, objective: Objective, scale: str = "filter") -> None:
        from thalweg.contracts.real import as_real
        from thalweg.landscape.directions import scaled_parameters

        self.objective = objective
        element = scale == "element"
        self.norms: Callable[[Tensor], Tensor] = _sizes if element else _norms
        self.parameters = list(objective.parameters) if element else scaled_parameters(objective.parameters)
        self.centre = [as_real(p.detach()).clone() for p in self.parameters]
        self.radii = [self.norms(w) for w in self.centre]
        if not any(bool(radius.any()) for radius in self.radii):
            raise ValueError("every filter of the trained weights is zero, and so is every ball around them")
        self.loss = 0.0
        self.loss = self._rise(None)

    def ascend(self, rho: float, steps: int, generator: torch.Generator, random: bool) -> float:
        """The highest rise of the loss on the way of one run; at least 0, the rise at the weights."""
        import torch

        from thalweg.contracts.real import as_real

        radii = [rho * radius for radius in self.radii]
        at = [torch.zeros_like(w) for w in self.centre]
        if random:
            at = [self._unit(z) * radius for z, radius in zip(self._normal(generator), radii, strict=True)]
        best = 0.0
        for _ in range(steps):
            self._put(at)
            loss, gradients = self.objective.gradient()
            best = max(best, self._checked(float(loss)))
            of = {id(p): as_real(g) for p, g in zip(self.objective.parameters, gradients, strict=True)}
            moved = [
                d + radius * self._unit(of[id(p)]) for d, radius, p in zip(at, radii, self.parameters, strict=True)
            ]
            at = [
                d * (radius / self.norms(d)).nan_to_num(0.0).clamp(max=1.0)
                for d, radius in zip(moved, radii, strict=True)
            ]
        return max(best, self._rise(at))

    def average(self, rho: float, pairs: int, generator: torch.Generator) -> tuple[float, float, float]:
        """The mean rise over Gaussian points, and its 95% interval."""
        from thalweg.scoring.intervals import t_interval

        means = []
        for _ in range(pairs):
            scaled = [
                z * (rho * radius / (z.numel() / radius.numel()) ** 0.5)
                for z, radius in zip(self._normal(generator), self.radii, strict=True)
            ]
            means.append((self._rise(scaled) + self._rise([-d for d in scaled])) / 2)
        value, low, high = t_interval(means)
        return value, low, high

    def _unit(self, d: Tensor) -> Tensor:
        """Each filter (or number) scaled to length 1; zero stays zero."""
        unit: Tensor = (d / self.norms(d)).nan_to_num(0.0)
        return unit

    def _normal(self, generator: torch.Generator) -> Iterator[Tensor]:
        from thalweg.curvature import random_start

        return (random_start(w, generator) for w in self.centre)

    def _put(self, displacement: list[Tensor] | None) -> None:
        import torch

        from thalweg.contracts.real import shaped

        with torch.no_grad():
            for index, (p, w) in enumerate(zip(self.parameters, self.centre, strict=True)):
                p.copy_(shaped((w if displacement is None else w + displacement[index]).reshape(-1), p))

    def _rise(self, displacement: list[Tensor] | None) -> float:
        import torch

        self._put(displacement)
        with torch.no_grad():
            return self._checked(float(self.objective.loss()))

    def _checked(self, loss: float) -> float:
        import math

        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} within the ball around the trained weights, so it has no sharpness")
        return loss - self.loss


def _norms(w: Tensor) -> Tensor:
    """The norm of each filter, broadcastable to the parameter; a vector is one filter."""
    rows = w.flatten(1) if w.dim() > 1 else w.reshape(1, -1)
    norms: Tensor = rows.square().sum(1).sqrt()
    return norms.reshape([-1] + [1] * (w.dim() - 1)) if w.dim() else norms.reshape([])


def _sizes(w: Tensor) -> Tensor:
    """The absolute value of each number: the norm of a ball of one dimension."""
    return w.abs()
