"""What the charts of probes share: colours and dashes that can be told apart without colour, and facets by trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair
    import pandas

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999")
"""Okabe and Ito's colours."""
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 3], [6, 2, 2, 2])
GREY = "#888888"


def color_and_dash(field: str, title: str, domain: list[str]) -> dict[str, Any]:
    """Encodings of a category by colour and dash together, with one legend."""
    import altair as alt

    legend = alt.Legend(orient="bottom", columns=2, symbolType="stroke", symbolSize=500, symbolStrokeWidth=2.5)
    colors = [COLORS[i % len(COLORS)] for i in range(len(domain))]
    dashes = [DASHES[i % len(DASHES)] for i in range(len(domain))]
    return {
        "color": alt.Color(f"{field}:N", title=title, scale=alt.Scale(domain=domain, range=colors), legend=legend),
        "strokeDash": alt.StrokeDash(
            f"{field}:N", title=title, scale=alt.Scale(domain=domain, range=dashes), legend=legend
        ),
    }


def faceted(
    chart: altair.Chart | altair.LayerChart | altair.FacetChart,
    table: pandas.DataFrame,
    by: str,
    title: altair.TitleParams | str,
) -> altair.FacetChart:
    """Small multiples on shared scales, two in a row; ``table`` is the chart's data."""
    import altair as alt

    small: Any = chart.properties(width=300, height=220, title="")
    found: altair.FacetChart = small.facet(facet=alt.Facet(f"{by}:N", title=None), columns=2, data=table)
    return found.properties(title=title)


def loss_scale(values: Any) -> str:
    """Log where every loss is positive."""
    return "log" if (values > 0).all() else "linear"
