"""The trace of the Hessian, the GGN or the Fisher matrix at the trained weights, and of each layer's block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg_plugins.probes._charts import by_trial, finite, said
from thalweg_plugins.probes._objective import OPTIONS, chosen_objective
from thalweg_plugins.probes.spectrum import CURVATURE, block_traces, operator_of, trace_rows

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext

WHOLE = "all weights"


class Trace(Probe):
    """tr A of A = H, GGN or Fisher matrix, from ``vectors`` products A v, with a 95% interval from Student's t.

    Hutchinson's method takes the mean of z'Az over random signs z. Hutch++ takes the trace on the range of a third of
    the products exactly, and the rest by Hutchinson's method: better where few eigenvalues make up most of the trace.
    With ``blocks`` the trace of the diagonal block of each layer's weights is estimated too, by Hutchinson's method.
    """

    name = "trace"
    summary = "trace of the Hessian, the GGN or the Fisher matrix, with its interval, also layer by layer"
    equation = "tr A = E z'Az,  z_i = 1 or -1"
    source = "Hutchinson 1990; Hutch++: Meyer, Musco, Musco & Woodruff 2021; of networks: Yao et al. 2020"
    when = ("end",)
    weights_suffice = True
    needs = ("final",)
    options = (
        Option("matrix", "hessian", ("hessian", "ggn", "fisher"), "of which matrix"),
        Option("vectors", 60, "[6, inf)", "products for each estimate"),
        Option("blocks", False, summary="whether to estimate each layer's diagonal block too"),
        *OPTIONS,
    )
    columns = (
        Column("quantity", "", "Hutchinson or Hutch++"),
        Column("layer", "", "all weights, or the parameter's name in the module"),
        Column("depth", "", "0 for all weights; else the number of the layer, 1 nearest to the input"),
        Column("value", CURVATURE, "estimate"),
        Column("low", CURVATURE, "where the 95% interval begins"),
        Column("high", CURVATURE, "where it ends"),
        Column("vectors", "", "products that it was estimated from"),
        Column("matrix", "", "hessian, ggn or fisher"),
    )

    def points(self, options: Mapping[str, Any]) -> int:
        """The products of both estimates."""
        return int(2 * options["vectors"])

    def vectors(self, options: Mapping[str, Any]) -> int:
        """The random vectors and their products."""
        return int(2 * options["vectors"])

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Products with one matrix at the final weights."""
        import pandas as pd

        objective = chosen_objective(context, final=True)
        options, generator = context.options, context.generator
        operator, _ = operator_of(objective, options["matrix"])
        rows = [{**row, "layer": WHOLE, "depth": 0} for row in trace_rows(operator, options["vectors"], generator)]
        if options["blocks"]:
            rows += [
                {**row, "quantity": "Hutchinson", "depth": row["index"]}
                for row in block_traces(objective, options["matrix"], options["vectors"], generator)
            ]
        table = pd.DataFrame(rows).assign(matrix=options["matrix"])[[column.name for column in self.columns]]
        return table.astype({"depth": int, "vectors": int})

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Each estimate with its interval."""
        import altair as alt

        rows = table.assign(**{name: finite(table[name]) for name in ("value", "low", "high")})
        rows = rows[rows["value"].notna()]
        if rows.empty:
            return said("Trace", "no estimate is finite" if len(table) else "nothing was measured")
        names = list(rows.sort_values("depth")["layer"].unique())
        y = alt.Y("layer:N", sort=names, title=None, axis=alt.Axis(labelLimit=180))
        title = f"trace ({CURVATURE})"
        base = alt.Chart(rows).encode(y=y, yOffset=alt.YOffset("quantity:N"))
        numbers = [alt.Tooltip(f"{name}:Q", format=".4g") for name in ("value", "low", "high", "vectors")]
        bars = base.mark_rule().encode(x=alt.X("low:Q", title=title, scale=alt.Scale(zero=False)), x2="high:Q")
        shape = alt.Shape("quantity:N", title="method", legend=alt.Legend(orient="bottom"))
        dots = base.mark_point(filled=True, size=60).encode(
            x="value:Q", shape=shape, tooltip=["layer:N", "quantity:N", *numbers]
        )
        return by_trial(alt.layer(bars, dots), table, "Trace", "whiskers: 95%, Student's t")
