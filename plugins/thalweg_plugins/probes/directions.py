"""The loss along single directions: random directions and gradients, of all weights and of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg.present.charts.palette import COLORS
from thalweg_plugins.probes._charts import (
    color_and_dash,
    count_missing,
    crosses,
    finite,
    heading,
    lonely,
    loss_scale,
    number_format,
    panels,
    said,
)
from thalweg_plugins.probes._objective import weights_of

if TYPE_CHECKING:
    import altair
    import pandas
    from torch import Tensor, nn

    from thalweg.contracts.probe import ProbeContext

KINDS = ("random", "gradient", "total gradient", "layer, random", "layer, gradient")


class Directions(Probe):
    """L(w + t ||w|| d) for unit vectors d and t from -reach to reach, on the training split, in float64.

    w are the trained weights. Frozen weights do not move and count in no norm.

    - ``random``: d is standard normal, scaled to length one.
    - ``gradient``: d is the gradient on a training batch, a different batch for each draw.
    - ``total gradient``: d is the gradient on all examples on which the loss is evaluated.
    - ``layer, random`` and ``layer, gradient``: d is zero outside the weights w_l of one layer, and t is in units of
      ||w_l||. The gradient is the total gradient.

    The losses are computed in float64, because rounding in float32 looks like roughness. With full batches ``gradient``
    and ``total gradient`` are equal. A zero gradient has no direction, so its losses are missing.
    """

    name = "directions"
    summary = "loss along random, gradient and per-layer directions, at the start and after training"
    equation = "L(w + t ||w|| d), ||d|| = 1, -reach <= t <= reach"
    source = "Li, Tai, Singh & Michaud 2018 (unpublished); compare Goodfellow, Vinyals & Saxe 2014"
    revision = 2
    when = ("start", "end")
    weights_suffice = True
    needs = ("initial", "final")
    options = (
        Option("points", 101, "[5, inf)", "evaluations along each direction; odd, so that the weights are one of them"),
        Option("reach", 0.5, "(0, inf)", "how far to go, in units of the weights' norm"),
        Option("draws", 3, "[1, inf)", "random directions, and batches, of each kind"),
        Option("layers", True, summary="whether to look at each layer too"),
        Option("examples", 0, "[0, inf)", "how many training examples; 0: all"),
        Option("batch_norm", "running", ("running", "batch"), "batch norm's statistics: as kept, or of all examples"),
    )
    columns = (
        Column("step", "steps", "optimization steps done: 0 at the start"),
        Column("direction", "", ", ".join(KINDS)),
        Column("depth", "", "the layer's number, 1 nearest to the input; 0 for all weights"),
        Column("layer", "", "the parameter's name in the module; empty for all weights"),
        Column("draw", "", "which draw"),
        Column("t", "norms of the weights", "how far from the weights"),
        Column("loss", "", "the loss there"),
    )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why the options do not fit: the weights themselves must be one of the points."""
        points = options["points"]
        return None if points % 2 else f"points = {points} is even: the weights themselves are not among them"

    def points(self, options: Mapping[str, Any]) -> int:
        """Evaluations along the directions of all weights. Each layer adds more."""
        return int(options["points"] * (2 * options["draws"] + 1))

    def vectors(self, options: Mapping[str, Any]) -> int:
        """The directions and the weights."""
        return int(2 * options["draws"] + 2)

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Evaluate along each direction."""
        import pandas as pd
        import torch

        from thalweg.landscape.evaluate import Span, losses_at

        options = context.options
        half = options["points"] // 2
        ticks = options["reach"] * torch.arange(-half, half + 1, dtype=torch.float64) / half
        tables = []
        found = list(self._directions(context))
        for number, (kind, depth, layer, draw, center, direction) in enumerate(found):
            losses = losses_at(
                context.module,
                context.problem,
                Span(torch.stack([center, direction]), torch.stack([torch.ones_like(ticks), ticks], 1)),
                "train",
                options["batch_norm"],
                examples=options["examples"] or None,
                dtype=torch.float64,
                metrics=("loss",),
                resume=context.scratch and context.scratch / f"step-{context.step}-line-{number}.sums",
                counts=context.objective.counts,
            )["loss"]
            context.progress(number + 1, len(found))
            rows = {"step": context.step, "direction": kind, "depth": depth, "layer": layer, "draw": draw}
            tables.append(pd.DataFrame({**rows, "t": ticks.numpy(), "loss": losses.numpy()}))
        return pd.concat(tables, ignore_index=True)

    def _directions(self, context: ProbeContext) -> Iterator[tuple[str, int, str, int, Tensor, Tensor]]:
        """Each direction's kind, depth, layer and draw, the weights, and the vector that t = 1 adds to the weights."""
        import torch

        from thalweg.contracts.problem import Draw
        from thalweg.curvature import flat
        from thalweg.landscape.directions import with_frozen

        options = context.options
        objective = context.objective_on("train", options["examples"] or None, torch.float64, options["batch_norm"])
        center = flat(objective.module.parameters()).detach()
        trained = with_frozen(objective.module, torch.ones_like(flat(objective.parameters)))
        weights = center * trained

        def gradient() -> Tensor:
            return with_frozen(objective.module, flat(objective.gradient()[1]))

        total = gradient()
        # of the whole training split, as training draws them
        batches = context.problem.reduced("train", None, torch.float64)
        draw = Draw(context.generator.initial_seed(), context.batch_size)

        def along(direction: Tensor, norm: Tensor) -> Tensor:
            unit: Tensor = direction / direction.norm()
            return unit * norm

        def random() -> Tensor:
            drawn = torch.randn(len(center), generator=context.generator, dtype=torch.float64).to(center.device)
            return drawn * trained

        for number in range(options["draws"]):
            yield "random", 0, "", number, center, along(random(), weights.norm())
        for number in range(options["draws"] if context.batch_size is not None else 1):
            objective.problem = batches
            objective.begin_step(batches.batch("train", number, draw), number)
            yield "gradient", 0, "", number, center, along(gradient(), weights.norm())
        yield "total gradient", 0, "", 0, center, along(total, weights.norm())
        if options["layers"]:
            for depth, (name, mask) in enumerate(_masks(objective.module, center), start=1):
                norm = (center * mask).norm()
                for number in range(options["draws"]):
                    yield "layer, random", depth, name, number, center, along(random() * mask, norm)
                yield "layer, gradient", depth, name, 0, center, along(total * mask, norm)

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """For all weights together: the mean over draws, with a band from the smallest to the largest loss."""
        rows = table[table["depth"] == 0]
        return _bands(rows, "direction", "direction", "Loss along directions through the weights")

    def views(self) -> dict[str, Any]:
        """The losses along the directions of each layer, and the roughness of each direction."""
        return {
            "each layer, random": lambda table: _layers(table, "layer, random"),
            "each layer, gradient": lambda table: _layers(table, "layer, gradient"),
            "roughness": _roughness,
        }


def _masks(module: nn.Module, center: Tensor) -> Iterator[tuple[str, Tensor]]:
    """For each layer a vector (P,) of ones at the layer's weights and zeros elsewhere."""
    import torch

    from thalweg.contracts.real import real_count

    wanted = dict(weights_of(module))
    offset = 0
    for name, parameter in module.named_parameters():
        if name in wanted:
            mask = torch.zeros_like(center)
            mask[offset : offset + real_count(parameter)] = 1.0
            yield name, mask
        offset += real_count(parameter)


def _moments(table: pandas.DataFrame) -> pandas.DataFrame:
    # of a network of one's own there is one moment, and nobody knows its step
    alone = len(table["step"].unique()) == 1
    start = "at the weights" if alone else "at the start"
    return table.assign(moment=table["step"].map(lambda step: start if step == 0 else f"after {step:g} steps"))


def _bands(table: pandas.DataFrame, field: str, legend: str, name: str) -> altair.TopLevelMixin:
    """One panel for each moment (and trial), with one line for each value of ``field``."""
    import altair as alt

    rows = table.assign(loss=finite(table["loss"])).dropna(subset=["step", "t"])
    if not rows["loss"].notna().any():
        return said(name, f"none of {len(rows)} points is finite" if len(rows) else "the table has no such directions")
    missing = count_missing(rows["loss"])
    keys = [key for key in ("trial", "step", field, "t") if key in rows]
    grouped = rows.groupby(keys, sort=False)["loss"]
    rows = _moments(grouped.agg(["mean", "min", "max"]).assign(lost=grouped.agg(_or_missing)).reset_index())
    if "trial" in rows:
        rows["moment"] = rows["trial"] + ", " + rows["moment"]
    log = loss_scale(rows["min"]) == "log"
    title = f"loss ({'log' if log else 'linear'} scale)"
    scale, axis = (
        alt.Scale(type="log" if log else "linear", nice=not log),
        alt.Axis(format=number_format(rows["max"], log), tickCount=6),
    )
    x = alt.X("t:Q", title="distance t (norms of the weights)", axis=alt.Axis(tickCount=5))
    style = color_and_dash(field, legend, list(rows[field].unique()), ordered=field == "layer")
    base = alt.Chart(rows)
    band = base.mark_area(opacity=0.2).encode(
        x=x, y=alt.Y("min:Q", title=title, scale=scale, axis=axis), y2="max:Q", color=style["color"]
    )
    point = alt.OverlayMarkDef(size=20) if missing or lonely(rows, ["moment", field]) else False
    lines = base.mark_line(strokeWidth=2, point=point).encode(
        x=x,
        y=alt.Y("mean:Q", title=title, scale=scale, axis=axis),
        tooltip=[f"{field}:N", alt.Tooltip("t:Q", format=".3f"), alt.Tooltip("mean:Q", title="loss", format=".4g")],
        **style,
    )
    layers = [band, lines, *([crosses(base, "lost", x)] if missing else [])]
    order = list(dict.fromkeys(rows.sort_values([key for key in ("trial", "step") if key in rows])["moment"]))
    about = ["mean and range over draws, float64" + (", of those that are finite" if missing else ""), missing]
    return panels(alt.layer(*layers), "moment", name, about, order)


def _or_missing(losses: pandas.Series) -> float:
    """The mean of values; missing where a value is missing."""
    return float(losses.mean(skipna=False))


def _layers(table: pandas.DataFrame, kind: str) -> altair.TopLevelMixin:
    rows = table[table["direction"] == kind]
    rows = rows.dropna(subset=["depth"])
    rows = rows.assign(layer=rows["depth"].astype(int).astype(str) + " " + rows["layer"])
    which = "a random direction" if kind == "layer, random" else "the gradient"
    return _bands(rows, "layer", "layer (1: input)", f"Loss along {which} of one layer")


def _roughness(table: pandas.DataFrame) -> altair.TopLevelMixin:
    import altair as alt
    import numpy as np
    import pandas as pd

    from thalweg.landscape.shape import roughness

    name = "Share of each line that bends downwards"
    rows = []
    trials = [key for key in ("trial",) if key in table]
    keys = [*trials, "moment", "direction", "depth", "draw"]
    for values, part in _moments(table.dropna(subset=["step"])).groupby(keys, sort=False):
        part = part.sort_values("t")
        losses, t = finite(part["loss"]).to_numpy(), part["t"].to_numpy(float)
        h = float(t[1] - t[0]) if len(t) > 1 else 1.0
        rows.append({**dict(zip(keys, values, strict=True)), "concave": roughness(losses, h).concave})
    found = pd.DataFrame(rows, columns=[*keys, "concave"])
    known = found.dropna(subset=["concave"])
    if known.empty:
        return said(name, "no line has three points or more, all finite")
    what = known["direction"] + np.where(known["depth"] > 0, " " + known["depth"].astype(int).astype(str), "")
    known = known.assign(what=what)
    chart = (
        alt.Chart(known)
        .mark_point(filled=True, size=60, opacity=0.8)
        .encode(
            x=alt.X("concave:Q", title=["share of negative", "second differences"], axis=alt.Axis(format="%")),
            y=alt.Y("what:N", title=None, sort=list(dict.fromkeys(what))),
            color=alt.Color("moment:N", title=None, sort=None, scale=alt.Scale(range=list(COLORS))),
            shape=alt.Shape("moment:N", title=None, sort=None),
            tooltip=["what:N", "moment:N", "draw:Q", alt.Tooltip("concave:Q", format=".1%")],
        )
    )
    wrong = len(found) - len(known)
    about = f"{wrong} of {len(found)} lines are not finite everywhere, and left out" if wrong else ""
    if trials:
        return panels(chart, "trial", name, about, height=max(120, 14 * what.nunique()))
    made: alt.TopLevelMixin = chart.properties(
        width="container", height=max(120, 20 * what.nunique()), title=heading(name, about)
    )
    return made
