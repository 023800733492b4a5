"""Internal covariate shift: how the steps of earlier layers change a layer's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg_plugins.probes._charts import by_depth, by_trial, finite, number_format, said
from thalweg_plugins.probes._objective import weights_of

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext


class CovariateShift(Probe):
    """Each layer's gradient G_i, and its gradient G'_i after the earlier layers have stepped, on one batch.

    G_i = grad_{W_i} L(W_1, ..., W_k) and G'_i = grad_{W_i} L(W'_1, ..., W'_{i-1}, W_i, ..., W_k). W' are the weights
    after the optimizer's next step on this batch. On saved weights, without an optimizer at work, W' are the weights
    after a step of gradient descent with the optimizer's learning rate. Every parameter before W_i in the module's
    order counts as earlier. Batch norm is in training mode. A larger gradient shifts more, so ``relative`` divides by
    ||G_i||.
    """

    name = "covariate-shift"
    summary = "internal covariate shift: how far the steps of the layers before a layer move its gradient"
    equation = "||G_i - G'_i||_2,  cos(G_i, G'_i)"
    source = "Santurkar, Tsipras, Ilyas & Madry 2018, definition 2.1"
    when = ("step",)
    options = (Option("every", 20, "[1, inf)", "steps between two measurements"),)
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("depth", "", "the layer's number, 1 nearest to the input"),
        Column("layer", "", "the parameter's name in the module"),
        Column("difference", "loss per unit of weight", "||G_i - G'_i||_2"),
        Column("relative", "", "the same over ||G_i||_2"),
        Column("cosine", "", "of the angle between G_i and G'_i; missing where one of them vanishes"),
        Column("gradient_norm", "loss per unit of weight", "||G_i||_2"),
    )

    def due(self, options: Mapping[str, Any], step: int) -> bool:
        """At every multiple of ``every`` steps."""
        return bool(step % options["every"] == 0)

    def measure(self, context: ProbeContext) -> dict[str, Any]:
        """One gradient, one step, and a gradient in each layer but the first."""
        import copy

        import torch

        from thalweg.contracts.real import as_real

        objective = context.objective
        parameters: list[torch.Tensor] = list(context.module.parameters())
        before = [parameter.detach().clone() for parameter in parameters]
        _, gradients = objective.gradient()
        gradient = dict(zip((id(p) for p in objective.parameters), gradients, strict=True))
        if context.stepper is not None:
            kept = [parameter.grad for parameter in parameters]
            context.stepper.step(objective)
            after = [parameter.detach().clone() for parameter in parameters]
            for parameter, grad in zip(parameters, kept, strict=True):
                parameter.grad = grad
        elif not context.on_saved_weights:
            raise ValueError("the optimizer cannot be copied, and so its next step cannot be looked at")
        elif context.lr is not None:
            zero = torch.zeros(())
            after = [w - context.lr * gradient.get(id(p), zero.to(w)) for w, p in zip(before, parameters, strict=True)]
        else:
            raise ValueError("on saved weights the step is one of gradient descent, and its learning rate is not known")
        layers = {id(parameter): name for name, parameter in weights_of(context.module)}
        rows: list[dict[str, Any]] = []
        # in their own order the layers step one by one, and each gradient is taken in one layer alone
        alone, stepped = copy.copy(objective), 0
        with torch.no_grad():
            torch._foreach_copy_(parameters, before)
        for i, parameter in enumerate(parameters):
            if id(parameter) not in layers:
                continue
            g = h = as_real(gradient[id(parameter)]).double()
            if i:  # before the first parameter nothing steps
                with torch.no_grad():
                    torch._foreach_copy_(parameters[stepped:i], after[stepped:i])
                stepped, alone.parameters = i, [p for p in objective.parameters if p is parameter]
                h = as_real(alone.gradient()[1][0]).double()
            norm, other, difference = float(g.norm()), float(h.norm()), float((g - h).norm())
            rows.append(
                {
                    "step": context.step,
                    "depth": len(rows) + 1,
                    "layer": layers[id(parameter)],
                    "difference": difference,
                    "relative": difference / norm if norm else float("nan"),
                    "cosine": float((g * h).sum()) / (norm * other) if norm * other else float("nan"),
                    "gradient_norm": norm,
                }
            )
        with torch.no_grad():
            torch._foreach_copy_(parameters, before)
        return {column.name: [row[column.name] for row in rows] for column in self.columns}

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The relative shift of each layer over the steps."""
        return _lines(table, "relative", "||G - G'|| / ||G||", "Internal covariate shift, relative to the gradient")

    def views(self) -> dict[str, Any]:
        """The shift itself, and the cosine."""
        return {
            "difference": lambda table: _lines(table, "difference", "||G - G'||", "Internal covariate shift"),
            "cosine": lambda table: _lines(
                table, "cosine", "cos(G, G')", "Angle between a gradient and the shifted one"
            ),
        }


def _lines(table: pandas.DataFrame, column: str, title: str, name: str) -> altair.TopLevelMixin:
    import altair as alt

    table = table.assign(**{column: finite(table[column])})
    rows = table.dropna(subset=[column, "step", "depth"])
    if rows.empty:
        return said(name, "no measurement is finite" if len(table) else "nothing was measured")
    wrong = len(table) - len(rows)
    chart = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=15))
        .encode(
            x=alt.X("step:Q", title="steps", axis=alt.Axis(format="~s")),
            y=alt.Y(f"{column}:Q", title=title, axis=alt.Axis(format=number_format(rows[column]))),
            tooltip=["layer:N", "step:Q", alt.Tooltip(f"{column}:Q", format=".3g")],
            **by_depth(rows),
        )
    )
    return by_trial(chart, table, name, f"{wrong} of {len(table)} values are missing" if wrong else "")
