"""The gradient noise scale during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg_plugins.probes._charts import color_and_dash, finite, heading, lonely, said

if TYPE_CHECKING:
    import altair
    import pandas
    import torch
    from numpy.typing import NDArray

    from thalweg.contracts.objective import Objective
    from thalweg.contracts.probe import ProbeContext

SQUARED = "squared loss per squared unit of weight"
TRACE, NORM, SCALE = "tr(Sigma)", "||G||^2", "noise scale"


class NoiseScale(Probe):
    """B = tr(Sigma) / ||G||^2: the batch size at which noise and gradient are equally large.

    G is the gradient over the whole training split, and Sigma the covariance of the examples' gradients around G. Each
    draw takes ``big`` examples with replacement, in groups of ``small``. Let b = small and c = big, let ||g_b||^2 be
    the mean over groups of the squared gradient norm, and ||g_c||^2 the squared norm of the gradient of all c examples.
    Then

        tr(Sigma) ~ (||g_b||^2 - ||g_c||^2) / (1/b - 1/c),   ||G||^2 ~ (c ||g_c||^2 - b ||g_b||^2) / (c - b)

    are unbiased. Both are averaged over the draws, and then divided. Their 95% intervals are Student's. The interval of
    B is Fieller's for a ratio of means. It is missing where ||G||^2 cannot be told from zero, because then B may be
    anything. B itself is missing where the estimate of ||G||^2 is not positive.

    The module is in evaluation mode with batch norm's running statistics, so that an example's gradient depends on no
    other example. A function without examples has no noise.
    """

    name = "noise-scale"
    summary = "the gradient noise scale, before training and after each epoch"
    equation = "B = tr(Sigma) / ||G||^2"
    source = "McCandlish, Kaplan, Amodei et al. 2018, appendix A.1; interval: Fieller 1954"
    looks_at_optimizer = False
    when = ("start", "epoch")
    options = (
        Option("small", 16, "[1, inf)", "b: examples in a small batch"),
        Option("big", 256, "[2, inf)", "c: examples in a big batch, a multiple of small"),
        Option("draws", 20, "[2, inf)", "big batches"),
    )
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("epoch", "epochs", "epochs done"),
        Column("quantity", "", "noise scale, tr(Sigma) or ||G||^2"),
        Column("value", "see unit", "estimate"),
        Column("low", "see unit", "where the 95% interval begins"),
        Column("high", "see unit", "where it ends"),
        Column("unit", "", "of value, low and high"),
        Column("draws", "", "big batches that it was estimated from"),
    )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why the options do not fit: a big batch must consist of several small ones."""
        small, big = options["small"], options["big"]
        if big % small or big == small:
            return f"big = {big} is no multiple of small = {small} by 2 or more"
        return None

    def points(self, options: Mapping[str, Any]) -> int:
        """The gradients of small batches, and the examples of one small batch."""
        return int(options["draws"] * (options["big"] // options["small"]) + options["small"])

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Gradients of ``draws`` times ``big`` examples."""
        import numpy as np
        import pandas as pd

        options = context.options
        objective = context.objective_on("train")
        pairs = np.array([_draw(objective, options, context.generator) for _ in range(options["draws"])])
        if not np.isfinite(pairs).all():
            raise ValueError("a gradient is not finite, so there is no noise scale")
        rows = estimates(pairs)
        table = pd.DataFrame(
            [(quantity, *numbers, "examples" if quantity == SCALE else SQUARED) for quantity, numbers in rows.items()],
            columns=["quantity", "value", "low", "high", "unit"],
        )
        table = table.assign(step=context.step, epoch=context.epoch, draws=options["draws"])
        return table[[column.name for column in self.columns]]

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """B against the epoch on a log scale, with its interval."""
        import altair as alt

        name = "Gradient noise scale"
        rows = table[table["quantity"] == SCALE]
        rows = rows.assign(**{column: finite(rows[column]) for column in ("value", "low", "high")})
        shown = rows[rows["value"] > 0]
        if shown.empty:
            return said(name, "no estimate is finite and positive" if len(rows) else "the table has no noise scale")
        # a bound below zero has no logarithm, so the band ends a decade below the lowest value
        edge = float(shown["value"].min()) / 10
        cut = int((shown["low"] < edge).sum())
        shown = shown.assign(drawn=shown["low"].clip(lower=edge))
        title, scale, axis = "noise scale B in examples (log scale)", alt.Scale(type="log"), alt.Axis(format="~g")
        base = alt.Chart(shown).encode(x=alt.X("epoch:Q", title="epoch"))
        numbers = [alt.Tooltip(f"{column}:Q", format=".4g") for column in ("epoch", "value", "low", "high")]
        low, value = (alt.Y(f"{column}:Q", title=title, scale=scale, axis=axis) for column in ("drawn", "value"))
        band = base.mark_area(opacity=0.25).encode(y=low, y2="high:Q")
        whiskers = base.mark_rule().encode(y=low, y2="high:Q")
        line = base.mark_line(point=alt.OverlayMarkDef(size=30)).encode(y=value, tooltip=numbers)
        if "trial" in table:
            style = color_and_dash("trial", "trial", list(shown["trial"].unique()))
            color = style["color"]
            band, whiskers, line = band.encode(color=color), whiskers.encode(color=color), line.encode(**style)
        wrong = len(rows) - len(shown)
        about = [
            "band: 95%, Fieller; missing where the gradient is not distinguished from zero",
            f"{wrong} of {len(rows)} estimates are not positive, and left out" if wrong else "",
            f"{cut} of its lower ends are below {edge:.3g}, and drawn there" if cut else "",
        ]
        layers = [band, *([whiskers] if lonely(shown, ["trial"]) else []), line]
        made: alt.TopLevelMixin = alt.layer(*layers).properties(
            width="container", height=320, title=heading(name, about)
        )
        return made


def _draw(objective: Objective, options: Mapping[str, Any], generator: torch.Generator) -> tuple[float, float]:
    """One big batch's unbiased estimates of tr(Sigma) and ||G||^2."""
    import torch

    from thalweg.contracts.problem import Batch
    from thalweg.curvature import flat

    small, big = options["small"], options["big"]
    whole = objective.batch
    inputs, targets = whole.inputs, whole.targets
    total: torch.Tensor | None = None
    squares = 0.0
    for _ in range(big // small):
        if inputs is not None:
            chosen = torch.randint(whole.size, (small,), generator=generator).to(inputs.device)
            objective.begin_step(Batch(inputs[chosen], None if targets is None else targets[chosen], small), 0)
        gradient = flat(objective.gradient()[1]).double()
        squares += float(gradient.square().sum())
        total = gradient if total is None else total + gradient
    objective.begin_step(whole, 0)
    assert total is not None
    of_small = squares * small / big
    of_big = float((total * (small / big)).square().sum())
    return (of_small - of_big) / (1 / small - 1 / big), (big * of_big - small * of_small) / (big - small)


def estimates(pairs: NDArray[Any]) -> dict[str, tuple[float, float, float]]:
    """Value, low and high of B, tr(Sigma) and ||G||^2, from each draw's pair of the last two (draws, 2)."""
    import numpy as np
    from scipy.special import stdtrit

    n = len(pairs)
    s, g = pairs.mean(0).tolist()
    t2 = float(stdtrit(n - 1, 0.975)) ** 2
    ((ss, sg), (_, gg)) = (np.cov(pairs.T) / n * t2).tolist()
    found = {name: (x, x - v**0.5, x + v**0.5) for name, x, v in ((TRACE, s, ss), (NORM, g, gg))}
    # Fieller: all B with (s - B g)^2 <= t^2 var(s - B g)
    a, b, c = g * g - gg, s * g - sg, s * s - ss
    low = high = float("nan")
    if a > 0:
        root = max(b * b - a * c, 0.0) ** 0.5
        low, high = (b - root) / a, (b + root) / a
    return {SCALE: (s / g if g > 0 else float("nan"), low, high), **found}
