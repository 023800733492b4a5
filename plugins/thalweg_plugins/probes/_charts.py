"""What the charts of probes share: styles that can be told apart without colour, small multiples, and what is missing.

Values that are not finite are taken out of a table before it is drawn (``finite``) and marked as crosses at the top
edge (``crosses``); a table with nothing to draw becomes a titled picture that says so (``said``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair
    import pandas

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999")
"""Okabe and Ito's colours."""
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3])
"""Four, which has no factor in common with seven colours: 28 styles before one comes again."""
GREY = "#888888"


def stroke_legend(**more: Any) -> altair.Legend:
    """A legend of lines, with their dashes, and of names at full length."""
    import altair as alt

    given: dict[str, Any] = {"orient": "bottom", "columns": 2, **more}
    return alt.Legend(
        symbolType="stroke", symbolSize=500, symbolStrokeWidth=2.5, labelLimit=0, symbolOpacity=1, **given
    )


def color_and_dash(
    field: str, title: str, domain: Sequence[Any], ordered: bool = False, columns: int = 2
) -> dict[str, Any]:
    """Encodings of a category by colour and dash together, with one legend; of an ordered one from dark to light."""
    import altair as alt

    names = list(domain)
    legend = stroke_legend(columns=columns)
    colors: dict[str, Any] = {"range": [COLORS[i % len(COLORS)] for i in range(len(names))]}
    if ordered:
        colors = {"scheme": _dark_to_light()}
    dashes = [DASHES[i % len(DASHES)] for i in range(len(names))]
    return {
        "color": alt.Color(
            f"{field}:{'O' if ordered else 'N'}",
            title=title,
            sort=names,
            scale=alt.Scale(domain=names, **colors),
            legend=legend,
        ),
        "strokeDash": alt.StrokeDash(
            f"{field}:{'O' if ordered else 'N'}",
            title=title,
            sort=names,
            scale=alt.Scale(domain=names, range=dashes),
            legend=legend,
        ),
    }


def by_depth(rows: pandas.DataFrame) -> dict[str, Any]:
    """From dark at the input to light at the output, for a column ``depth``."""
    return color_and_dash("depth", "layer (1: input)", sorted(rows["depth"].unique()), ordered=True, columns=12)


def _dark_to_light() -> altair.SchemeParams:
    import altair as alt

    # the last tenth is a yellow that white swallows
    return alt.SchemeParams(name="viridis", extent=[0, 0.9])


def heading(title: str, about: str | Sequence[str] = ()) -> altair.TitleParams:
    """A title, with lines about it in grey."""
    import altair as alt

    lines = [line for line in ([about] if isinstance(about, str) else about) if line]
    return alt.TitleParams(title, subtitle=lines, subtitleColor=GREY) if lines else alt.TitleParams(title)


def by_trial(chart: Any, table: pandas.DataFrame, title: str, about: str | Sequence[str] = ()) -> altair.TopLevelMixin:
    """One picture; where the table has trials, one each."""
    if "trial" in table:
        return panels(chart, "trial", title, about)
    found: altair.TopLevelMixin = chart.properties(width="container", height=320, title=heading(title, about))
    return found


def panels(
    chart: Any,
    by: str,
    title: str,
    about: str | Sequence[str] = (),
    sort: Sequence[str] | None = None,
    height: Any = 220,
) -> altair.FacetChart:
    """Small multiples on shared scales, two in a row."""
    import altair as alt

    small = chart.properties(width=300, height=height)
    order: dict[str, Any] = {} if sort is None else {"sort": list(sort)}
    found: altair.FacetChart = small.facet(facet=alt.Facet(f"{by}:N", title=None, **order), columns=2)
    return found.properties(title=heading(title, about))


def said(title: str, why: str) -> altair.Chart:
    """A picture of nothing, with the reason."""
    import altair as alt
    import pandas as pd

    chart: altair.Chart = (
        alt.Chart(pd.DataFrame({"why": [why]}))
        .mark_text(color=GREY, fontSize=13, limit=560)
        .encode(text="why:N")
        .properties(width=560, height=80, title=heading(title))
    )
    return chart


def finite(values: pandas.Series) -> pandas.Series:
    """As numbers, and missing what is not finite."""
    import numpy as np
    import pandas as pd

    numbers: pandas.Series = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers))


def count_missing(values: pandas.Series, what: str = "points") -> str:
    """How many of ``finite`` values are missing, in words; empty where none is."""
    wrong = int(values.isna().sum())
    return f"{wrong} of {len(values)} {what} are not finite (crosses at the top)" if wrong else ""


def crosses(base: Any, column: str, x: Any) -> Any:
    """A cross at the top edge for each row where the column is missing."""
    import altair as alt

    return (
        base.transform_filter(f"!isValid(datum['{column}'])")
        .mark_text(text="\u00d7", fontSize=16, color="black")
        .encode(x=x, y=alt.value(6))
    )


def loss_scale(values: pandas.Series) -> str:
    """Log where every finite loss is positive."""
    known = finite(values).dropna()
    return "log" if len(known) and (known > 0).all() else "linear"


def number_format(values: Any, log: bool = False) -> str:
    """Of an axis' numbers: all written out, or all with an exponent."""
    largest = finite(values).abs().max()
    if log or math.isnan(largest):
        return "~g"
    return "~r" if 1e-3 <= largest < 1e6 else "~e"


def lonely(rows: pandas.DataFrame, keys: Sequence[str], least: int = 2) -> bool:
    """Whether a line of this table has so few points that it would not be seen."""
    there = [key for key in keys if key in rows]
    sizes = rows.groupby(there, sort=False).size() if there else None
    return len(rows) < least if sizes is None else bool((sizes < least).any())
