"""Critical sharpness: how large may a step in the optimizer's own direction be before the loss rises?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg.present.charts.palette import BLUE, VERMILION
from thalweg_plugins.probes._charts import by_trial, finite, lonely, said

if TYPE_CHECKING:
    import altair
    import pandas
    from torch import Tensor

    from thalweg.contracts.probe import ProbeContext


class CriticalSharpness(Probe):
    """lambda_c = 2 / eta_c, with eta_c = min {eta > 0: L(w - eta d) > L(w)} the critical learning rate.

    d = (w - w') / lr is the direction of the optimizer's next step, w' the weights after it, lr the learning rate. On
    saved weights, without an optimizer at work, d is the gradient g. L is the loss of the present batch, with batch
    norm in training mode, and the same draws at every point.

    For a quadratic loss lambda_c = d'Hd / d'g, which for gradient descent is at most the Hessian's largest eigenvalue.
    The next step raises the loss of its batch where lambda_c is above the threshold 2 / lr.

    A search begins at eta = lr, which it doubles or halves until one end of the last interval has a loss above L(w) and
    the other does not. Bisection follows until the ends differ by less than ``tolerance`` of the larger one. ``value``
    belongs to the middle, ``low`` and ``high`` to the ends. If lr is within a factor of two of eta_c, that takes five
    to six forward passes besides L(w).

    A loss that is not finite counts as above L(w). If the loss rises, falls and rises again along d, the search may
    find a later rise than the first. All three numbers are missing where ``passes`` end first, as they do where d leads
    upwards or the loss falls for ever, and where d = 0.
    """

    name = "critical-sharpness"
    summary = "2 over the learning rate from which the optimizer's next step raises the loss, by a few forward passes"
    equation = "lambda_c = 2 / eta_c,  eta_c = min {eta > 0: L(w - eta d) > L(w)}"
    source = "Kalra, Gagnon-Audet, Gromov et al. 2026 (arXiv 2601.16979)"
    when = ("start", "epoch")
    options = (
        Option("tolerance", 0.0625, "(0, 1)", "width of the last interval of eta, relative"),
        Option("passes", 50, "[3, inf)", "forward passes at most"),
    )
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("epoch", "epochs", "epochs done"),
        Column("value", "1/lr", "critical sharpness; missing where the search finds no end"),
        Column("low", "1/lr", "2 over the upper end of eta"),
        Column("high", "1/lr", "2 over the lower end of eta"),
        Column("threshold", "1/lr", "2 / lr"),
        Column("lr", "", "learning rate at this step"),
        Column("passes", "", "forward passes, that at the weights included"),
    )

    def points(self, options: Mapping[str, Any]) -> int:
        """The forward passes."""
        return int(options["passes"])

    def measure(self, context: ProbeContext) -> dict[str, Any]:
        """One step of the optimizer, and the losses along it."""
        import torch

        from thalweg.curvature import flat, pieces

        if context.lr is None:
            raise ValueError("the learning rate at these weights is not known, and steps are measured in it")
        objective = context.objective
        parameters: list[Tensor] = list(context.module.parameters())
        start = flat(parameters).detach().clone()
        direction = _direction(context, start)
        passes = 0

        @torch.no_grad()
        def loss(eta: float) -> float:
            nonlocal passes
            passes += 1
            torch._foreach_copy_(parameters, pieces(start - eta * direction, parameters))
            return float(objective.loss())

        found = None
        if context.lr > 0 and bool(direction.any()):
            found = critical(loss, context.lr, context.options["tolerance"], context.options["passes"])
        with torch.no_grad():
            torch._foreach_copy_(parameters, pieces(start, parameters))
        low, high = found or (float("nan"), float("nan"))
        return {
            "step": [context.step],
            "epoch": context.epoch,
            "value": 4 / (low + high),
            "low": 2 / high,
            "high": 2 / low,
            "threshold": 2 / context.lr if context.lr else float("nan"),
            "lr": context.lr,
            "passes": passes,
        }

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Critical sharpness with its interval, and the threshold dashed, on a log scale."""
        import altair as alt

        name = "Critical sharpness"
        columns = ["value", "low", "high", "threshold"]
        table = table.assign(**{column: finite(table[column]) for column in columns})
        rows = table[table["value"] > 0]
        if rows.empty:
            return said(name, "no measurement is finite and positive" if len(table) else "nothing was measured")
        x = alt.X("epoch:Q", title="epoch")
        scale, axis = alt.Scale(type="log"), alt.Axis(format="~g")
        y, low, threshold = (
            alt.Y(f"{column}:Q", title="critical sharpness 2 / eta (log scale)", scale=scale, axis=axis)
            for column in ("value", "low", "threshold")
        )
        base = alt.Chart(rows).encode(x=x)
        numbers = [alt.Tooltip(f"{column}:Q", format=".4g") for column in ("epoch", *columns)]
        band = base.mark_rule if lonely(rows, ["trial"]) else base.mark_area
        layers = [
            band(opacity=0.35, color=BLUE).encode(y=low, y2="high:Q"),
            base.mark_line(color=BLUE, point=alt.OverlayMarkDef(size=40, color=BLUE)).encode(y=y, tooltip=numbers),
            base.mark_line(color=VERMILION, strokeDash=[6, 4]).encode(y=threshold),
        ]
        wrong = len(table) - len(rows)
        about = [
            "band: the search's last interval; dashed: 2 / lr, above which the next step raises the batch's loss",
            f"{wrong} of {len(table)} values are missing" if wrong else "",
        ]
        return by_trial(alt.layer(*layers), table, name, about)


def critical(loss: Callable[[float], float], eta: float, tolerance: float, passes: int) -> tuple[float, float] | None:
    """An interval of eta whose lower end does not raise the loss and whose upper end does; None where passes run out.

    Args:
        loss: eta -> L(w - eta d).
        eta: where the search begins, above 0.
        tolerance: the interval's width relative to its upper end.
        passes: the most calls of ``loss``, that at 0 included.

    >>> low, high = critical(lambda eta: (1 - eta) ** 2, 0.7, 0.01, 20)  # rises from eta = 2 on
    >>> low <= 2 <= high <= low / 0.99
    True
    """
    here, left = loss(0.0), passes - 1
    low = high = 0.0  # 0 stands for unknown
    while left:
        left -= 1
        if loss(eta) <= here:
            low = eta
        else:
            high = eta
        if low and high and high - low <= tolerance * high:
            return low, high
        eta = (low + high) / 2 if low and high else 2 * eta if low else eta / 2
    return None


def _direction(context: ProbeContext, start: Tensor) -> Tensor:
    """The direction (P,) of the next step, over all parameters of the module."""
    import torch

    from thalweg.curvature import flat, pieces

    parameters: list[Tensor] = list(context.module.parameters())
    objective, stepper, lr = context.objective, context.stepper, context.lr
    if stepper is not None:
        kept = [parameter.grad for parameter in parameters]
        stepper.step(objective)
        after = flat(parameters).detach().clone()
        for parameter, grad in zip(parameters, kept, strict=True):
            parameter.grad = grad
        with torch.no_grad():
            torch._foreach_copy_(parameters, pieces(start, parameters))
        return (start - after) / lr if lr else torch.zeros_like(start)
    if not context.on_saved_weights:
        raise ValueError("the optimizer cannot be copied, and so its next step cannot be looked at")
    of = dict(zip(map(id, objective.parameters), objective.gradient()[1], strict=True))
    return flat(of.get(id(parameter), torch.zeros_like(parameter)) for parameter in parameters).detach()
