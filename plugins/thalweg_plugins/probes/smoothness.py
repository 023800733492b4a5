"""Loss and gradient along the gradient: how far can a step be trusted?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg.present.charts.palette import BLUE, VERMILION
from thalweg_plugins.probes._charts import by_trial, finite, lonely, loss_scale, said

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext

QUANTITIES = {
    "loss range": ("loss_low", "loss_high"),
    "gradient predictiveness": ("gradient_low", "gradient_high"),
}


class Smoothness(Probe):
    """Loss L and gradient g of a batch at w - alpha g(w), for step sizes alpha from low * lr to high * lr.

    ``loss_low`` and ``loss_high`` are the smallest and the largest L(w - alpha g). ``gradient_low`` and
    ``gradient_high`` are the smallest and the largest ||g(w - alpha g) - g(w)||_2. ``beta``, the effective smoothness,
    is the largest ||g(w - alpha g) - g(w)|| / (alpha ||g(w)||). The batch is that of the last step, batch norm is in
    training mode, and the probe measures at every multiple of ``every`` steps. A value that is nan at one step size is
    nan in the range. A larger gradient makes larger ranges, so compare loss_high / loss and gradient_high /
    gradient_norm too, at equal loss.
    """

    name = "smoothness"
    summary = "range of loss and gradient along the gradient, and effective smoothness, during training"
    equation = "L(w - alpha g),  ||g(w - alpha g) - g||,  beta = max_alpha ||g(w - alpha g) - g|| / (alpha ||g||)"
    source = "Santurkar, Tsipras, Ilyas & Madry 2018, section 3.1 and figure 4"
    when = ("step",)
    options = (
        Option("every", 10, "[1, inf)", "steps between two measurements"),
        Option("low", 0.5, "(0, inf)", "the smallest step, in learning rates"),
        Option("high", 4.0, "(0, inf)", "the largest step, in learning rates"),
        Option("count", 8, "[2, inf)", "steps between them, evenly spaced"),
    )
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("loss", "", "at the weights"),
        Column("gradient_norm", "loss per unit of weight", "at the weights"),
        Column("loss_low", "", "the least loss along the gradient"),
        Column("loss_high", "", "the largest loss along the gradient"),
        Column("gradient_low", "loss per unit of weight", "the least change of the gradient"),
        Column("gradient_high", "loss per unit of weight", "the largest change of the gradient"),
        Column("beta", "loss per squared unit of weight", "effective smoothness"),
        Column("lr", "", "the learning rate"),
    )

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why the options do not fit: the step sizes must go from a lower to a higher end."""
        low, high = options["low"], options["high"]
        return None if low < high else f"low = {low:g} is not below high = {high:g}"

    def due(self, options: Mapping[str, Any], step: int) -> bool:
        """At every multiple of ``every`` steps."""
        return bool(step % options["every"] == 0)

    def points(self, options: Mapping[str, Any]) -> int:
        """The gradients along the gradient."""
        return int(options["count"])

    def measure(self, context: ProbeContext) -> dict[str, Any]:
        """One gradient at the weights and one at each step size."""
        import numpy as np
        import torch

        from thalweg.contracts.real import as_real, real_count
        from thalweg.curvature import flat, pieces

        options = context.options
        if context.lr is None:
            raise ValueError("the learning rate at these weights is not known, and steps are measured in it")
        loss, gradient = context.objective.gradient()
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(as_real(g).double()) for g in gradient]))
        parameters: list[torch.Tensor] = list(context.objective.parameters)
        start, along = flat(parameters).detach(), flat(gradient)
        exact, work = along.double(), torch.empty(len(along), dtype=torch.float64, device=along.device)
        parts = torch.split(work, [real_count(g) for g in gradient])
        there_now = torch.empty_like(start)
        losses, changes, betas = [], [], []
        for share in np.linspace(options["low"], options["high"], options["count"]):
            alpha = float(share) * context.lr
            with torch.no_grad():
                torch.sub(start, torch.mul(along, alpha, out=there_now), out=there_now)
                torch._foreach_copy_(parameters, pieces(there_now, parameters))
            there, moved = context.objective.gradient()
            torch.sub(flat(moved), exact, out=work).square_()
            change = float(torch.stack([part.sum() for part in parts]).sum().sqrt())
            losses.append(float(there))
            changes.append(change)
            moved_by = alpha * float(norm)
            betas.append(change / moved_by if moved_by else float("nan"))
        with torch.no_grad():
            torch._foreach_copy_(parameters, pieces(start, parameters))
        return {
            "step": [context.step],
            "loss": [float(loss)],
            "gradient_norm": [float(norm)],
            "loss_low": [float(np.min(losses))],
            "loss_high": [float(np.max(losses))],
            "gradient_low": [float(np.min(changes))],
            "gradient_high": [float(np.max(changes))],
            "beta": [float(np.max(betas))],
            "lr": [context.lr],
        }

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The range of the loss as a band around it."""
        return _band(table, "loss", "loss_low", "loss_high", "loss", "Range of the loss along the gradient")

    def views(self) -> dict[str, Any]:
        """The range of the gradient's change, and the effective smoothness."""
        return {
            "gradient predictiveness": lambda table: _band(
                table, None, "gradient_low", "gradient_high", "change of the gradient",
                "Change of the gradient along the gradient",
            ),
            "effective smoothness": _beta,
        }  # fmt: skip


def _band(
    table: pandas.DataFrame, middle: str | None, low: str, high: str, title: str, name: str
) -> altair.TopLevelMixin:
    import altair as alt

    names = [low, high, *([middle] if middle else [])]
    table = table.assign(**{column: finite(table[column]) for column in names})
    # a loss may be below zero; the change of a gradient is not, and a zero is left out
    log = middle is None or loss_scale(table[names].melt()["value"]) == "log"
    rows = table[(table[names] > 0).all(axis=1)] if log else table.dropna(subset=names)
    if rows.empty:
        wanted = "finite and positive" if log else "finite"
        return said(name, f"no measurement is {wanted}" if len(table) else "nothing was measured")
    title = f"{title} ({'log' if log else 'linear'} scale)"
    x = alt.X("step:Q", title="steps", axis=alt.Axis(format="~s"))
    scale, axis = alt.Scale(type="log" if log else "linear", nice=False), alt.Axis(format="~g", tickCount=5)
    y = alt.Y(f"{low}:Q", title=title, scale=scale, axis=axis)
    base = alt.Chart(rows)
    shown = ["step:Q", *(alt.Tooltip(f"{column}:Q", format=".3g") for column in names)]
    layers = [base.mark_area(opacity=0.35, color=BLUE).encode(x=x, y=y, y2=f"{high}:Q", tooltip=shown)]
    if lonely(rows, ["trial"]):  # an area over one step has no width
        layers.append(base.mark_rule(strokeWidth=8, opacity=0.35, color=BLUE).encode(x=x, y=y, y2=f"{high}:Q"))
    if middle:
        line = base.mark_line(strokeWidth=1.5, color=VERMILION, point=alt.OverlayMarkDef(size=30, color=VERMILION))
        layers.append(line.encode(x=x, y=alt.Y(f"{middle}:Q", title=title, scale=scale, axis=axis), tooltip=shown))
    about = "band: least to largest over the steps" + ("; line: at the weights" if middle else "")
    return by_trial(alt.layer(*layers), table, name, [about, _left_out(table, rows, log)])


def _left_out(table: pandas.DataFrame, rows: pandas.DataFrame, log: bool = True) -> str:
    """The number of measurements that the scale cannot show."""
    wrong, place = len(table) - len(rows), "finite and positive" if log else "finite"
    return f"{wrong} of {len(table)} measurements are not {place}, and left out" if wrong else ""


def _beta(table: pandas.DataFrame) -> altair.TopLevelMixin:
    import altair as alt

    name = "Effective smoothness"
    table = table.assign(beta=finite(table["beta"]))
    rows = table[table["beta"] > 0]
    if rows.empty:
        return said(name, "no measurement is finite and positive" if len(table) else "nothing was measured")
    chart = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2, color=BLUE, point=alt.OverlayMarkDef(size=30, color=BLUE))
        .encode(
            x=alt.X("step:Q", title="steps", axis=alt.Axis(format="~s")),
            y=alt.Y("beta:Q", title="beta (log scale)", scale=alt.Scale(type="log"), axis=alt.Axis(format="~g")),
            tooltip=["step:Q", alt.Tooltip("beta:Q", format=".3g")],
        )
    )
    return by_trial(chart, table, name, _left_out(table, rows))
