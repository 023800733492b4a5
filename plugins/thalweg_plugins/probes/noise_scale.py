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
    from thalweg.contracts.problem import Batch

SQUARED = "squared loss per squared unit of weight"
TRACE, NORM, SCALE = "tr(Sigma)", "||G||^2", "noise scale"
NOT_FINITE = "a gradient is not finite, so there is no noise scale"


class NoiseScale(Probe):
    """B = tr(Sigma) / ||G||^2: the batch size at which noise and gradient are equally large.

    G is the gradient over the whole training split, and Sigma the covariance of the examples' gradients around G. One
    pass forward and back gives the squared norm of each example's gradient g_i, and with it the mean ||g||^2 of them.

    If ``draws`` times ``big`` examples or fewer are in the split, every example is seen. Then G is known,
    tr(Sigma) = mean ||g_i||^2 - ||G||^2, and low, value and high are equal.

    Otherwise each draw takes c = ``big`` examples with replacement. Let ||g_c||^2 be the squared norm of the gradient
    of all c examples. Then

        tr(Sigma) ~ (mean ||g_i||^2 - ||g_c||^2) / (1 - 1/c),   ||G||^2 ~ (c ||g_c||^2 - mean ||g_i||^2) / (c - 1)

    are unbiased. Both are averaged over the draws, and then divided. Their 95% intervals are Student's. The interval of
    B is Fieller's for a ratio of means. It is missing where ||G||^2 cannot be told from zero, because then B may be
    anything. B itself is missing where the estimate of ||G||^2 is not positive.

    Some networks and losses give no gradients of single examples in one pass (``thalweg.curvature.example_gradients``
    says which). For these each draw has groups of b = ``small`` examples. With the mean m over groups of the squared
    gradient norm,

        tr(Sigma) ~ (m - ||g_c||^2) / (1/b - 1/c),   ||G||^2 ~ (c ||g_c||^2 - b m) / (c - b)

    The module is in evaluation mode with batch norm's running statistics, so that an example's gradient depends on no
    other example. A function without examples has no noise.
    """

    name = "noise-scale"
    summary = "the gradient noise scale, before training and after each epoch"
    equation = "B = tr(Sigma) / ||G||^2"
    source = (
        "McCandlish, Kaplan, Amodei et al. 2018, appendix A.1; interval: Fieller 1954; norms of single examples: "
        "Goodfellow 2015"
    )
    revision = 2
    looks_at_optimizer = False
    when = ("start", "epoch")
    options = (
        Option("small", 16, "[1, inf)", "b: examples in a small batch, where single examples have no gradients"),
        Option("big", 256, "[2, inf)", "c: examples in a big batch, a multiple of small"),
        Option("draws", 20, "[2, inf)", "big batches; all examples are seen if these batches hold as many"),
    )
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("epoch", "epochs", "epochs done"),
        Column("quantity", "", "noise scale, tr(Sigma) or ||G||^2"),
        Column("value", "see unit", "estimate"),
        Column("low", "see unit", "where the 95% interval begins"),
        Column("high", "see unit", "where it ends"),
        Column("unit", "", "of value, low and high"),
        Column("draws", "", "big batches that it was estimated from; 0: every example was seen"),
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

    def measure(self, context: ProbeContext) -> dict[str, Any]:
        """Gradients of at most ``draws`` times ``big`` examples."""
        import numpy as np

        from thalweg.contracts.modes import has_own_modes, kept_modes

        with kept_modes(context.module):
            objective = context.objective_on("train", fresh=has_own_modes(context.module))
            draws, found = 0, _of_every_example(context, objective)
            if found is None:
                draws = context.options["draws"]
                found = estimates(_drawn(context, objective))
        if not np.isfinite([found[TRACE][0], found[NORM][0]]).all():
            raise ValueError(NOT_FINITE)
        values, lows, highs = zip(*found.values(), strict=True)
        return {
            "step": context.step,
            "epoch": context.epoch,
            "quantity": list(found),
            "value": list(values),
            "low": list(lows),
            "high": list(highs),
            "unit": ["examples" if quantity == SCALE else SQUARED for quantity in found],
            "draws": draws,
        }

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


def _of_every_example(context: ProbeContext, objective: Objective) -> dict[str, tuple[float, float, float]] | None:
    """The exact values; None where they would take more examples than the options allow, or cannot be had."""
    from thalweg.curvature import flat

    options, whole = context.options, objective.batch
    if whole.inputs is None and whole.size > 1:
        raise ValueError("the batches are no pairs of tensors, so single examples have no gradients")
    if whole.inputs is None:
        return _exact(0.0, float(flat(objective.gradient()[1]).double().square().sum()))
    if whole.size > options["draws"] * options["big"]:
        return None
    found = _of_rows(objective, None, options["small"])
    if found is None:
        return None
    of_one, of_all = found
    return _exact(of_one - of_all, of_all)


def _exact(trace: float, norm: float) -> dict[str, tuple[float, float, float]]:
    trace = max(trace, 0.0) if trace == trace else trace  # below zero by rounding
    scale = trace / norm if norm > 0 else float("nan")
    return {SCALE: (scale,) * 3, TRACE: (trace,) * 3, NORM: (norm,) * 3}


def _drawn(context: ProbeContext, objective: Objective) -> NDArray[Any]:
    """Unbiased estimates of tr(Sigma) and ||G||^2 from each draw (draws, 2)."""
    import numpy as np
    import torch

    from thalweg.curvature import examples_at_once

    options, generator = context.options, context.generator
    whole, small, big = objective.batch, options["small"], options["big"]
    pairs, singly = [], examples_at_once(objective) > 0
    for _ in range(options["draws"]):
        rows = torch.randint(whole.size, (big,), generator=generator)
        found = _of_rows(objective, rows, small) if singly else None
        singly = found is not None
        if found is None:
            pairs.append(_unbiased(small, *_of_groups(objective, rows, small), big))
        else:
            pairs.append(_unbiased(1, *found, big))
    if not np.isfinite(pairs).all():
        raise ValueError(NOT_FINITE)
    return np.array(pairs)


def _unbiased(small: int, of_small: float, of_big: float, big: int) -> tuple[float, float]:
    """tr(Sigma) and ||G||^2 from the squared gradient norms of small batches and of the big batch that they make."""
    return (of_small - of_big) / (1 / small - 1 / big), (big * of_big - small * of_small) / (big - small)


def _chosen(whole: Batch, rows: torch.Tensor | slice) -> Batch:
    from thalweg.contracts.problem import Batch

    assert whole.inputs is not None
    if not isinstance(rows, slice):
        rows = rows.to(whole.inputs.device)
    inputs = whole.inputs[rows]
    return Batch(inputs, None if whole.targets is None else whole.targets[rows], len(inputs))


def _of_rows(objective: Objective, rows: torch.Tensor | None, least: int) -> tuple[float, float] | None:
    """The mean of the examples' squared gradient norms, and the squared norm of their mean gradient.

    ``rows`` None stands for all examples. A pass takes at least ``least`` examples. The result is None where single
    examples have no gradients.
    """
    import torch

    from thalweg.curvature import example_gradients, examples_at_once

    whole = before = objective.batch
    at_once = examples_at_once(objective)
    if not at_once:
        return None
    if rows is not None:
        whole = _chosen(whole, rows)
    squares: list[torch.Tensor] = []
    total: torch.Tensor | None = None
    for start in range(0, whole.size, max(least, at_once)):
        part = _chosen(whole, slice(start, start + max(least, at_once)))
        objective.begin_step(part, 0)
        found = example_gradients(objective, checked=True)
        objective.begin_step(before, 0)
        if found is None:
            return None
        squares.append(found.squares)
        gradient = found.mean * (part.size / whole.size)
        total = gradient if total is None else total + gradient
    assert total is not None
    return float(torch.cat(squares).mean()), float(total.square().sum())


def _of_groups(objective: Objective, rows: torch.Tensor, small: int) -> tuple[float, float]:
    """The mean of the squared gradient norms of groups of ``small`` examples, and the norm of their mean gradient."""
    import torch

    from thalweg.curvature import flat

    whole = objective.batch
    total: torch.Tensor | None = None
    squares = 0.0
    for part in torch.split(rows, small):
        objective.begin_step(_chosen(whole, part), 0)
        gradient = flat(objective.gradient()[1]).double()
        squares += float(gradient.square().sum())
        total = gradient if total is None else total + gradient
    objective.begin_step(whole, 0)
    assert total is not None
    share = small / len(rows)
    return squares * share, float((total * share).square().sum())


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
