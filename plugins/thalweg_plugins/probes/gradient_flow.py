"""The gradient's norm in every layer, during training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg import Column, Probe

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext


class GradientFlow(Probe):
    """||dL/dW_l|| for the weights W_l of each layer l, on the current batch in training mode.

    Weights are the parameters of two and more dimensions; where a module has none (an analytic function), all of them.
    """

    name = "gradient-flow"
    summary = "norm of the gradient in each layer, before training and after each epoch"
    equation = "||dL/dW_l||_2 for each layer l"
    source = "Glorot & Bengio 2010, section 4.2.2"
    when = ("start", "epoch")
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("epoch", "epochs", "epochs done"),
        Column("depth", "", "the layer's number, 1 nearest to the input"),
        Column("layer", "", "the parameter's name in the module"),
        Column("gradient_norm", "loss per unit of weight", "2-norm of the layer's gradient"),
    )

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """One gradient."""
        import pandas as pd

        _, gradients = context.objective.gradient()
        named = [(name, p) for name, p in context.module.named_parameters() if p.requires_grad]
        pairs = [(name, gradient) for (name, _), gradient in zip(named, gradients, strict=True)]
        weights = [(name, gradient) for name, gradient in pairs if gradient.dim() > 1] or pairs
        rows = [
            {
                "step": context.step,
                "epoch": context.epoch,
                "depth": depth,
                "layer": name,
                "gradient_norm": float(gradient.double().norm()),
            }
            for depth, (name, gradient) in enumerate(weights, start=1)
        ]
        return pd.DataFrame(rows, columns=[column.name for column in self.columns])

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """One line a layer, on a log scale: a fan of lines tells of vanishing or exploding."""
        import altair as alt

        positive = table[table["gradient_norm"] > 0]
        chart: alt.Chart = (
            alt.Chart(positive, title="Gradient norm by layer")
            .mark_line()
            .encode(
                x=alt.X("epoch:Q", title="epoch"),
                y=alt.Y(
                    "gradient_norm:Q",
                    title="gradient norm (log scale)",
                    scale=alt.Scale(type="log"),
                    axis=alt.Axis(format="~g", tickCount=5),
                ),
                color=alt.Color("depth:O", title="layer (1: input)", scale=alt.Scale(scheme="viridis")),
                tooltip=["layer:N", "epoch:Q", alt.Tooltip("gradient_norm:Q", format=".3g")],
            )
            .properties(width="container", height=320)
        )
        if "trial" in table:
            small: alt.Chart = chart.properties(width=360, height=240, title="")
            faceted: alt.FacetChart = small.facet(facet=alt.Facet("trial:N", title=None), columns=2)
            return faceted.properties(title="Gradient norm by layer")
        return chart
