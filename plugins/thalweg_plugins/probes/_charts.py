"""Shared parts of the probes' charts: encodings, legends, small multiples, and marks for missing values.

``finite`` takes values that are not finite out of a table before it is drawn, and ``crosses`` marks them at the top
edge. A table with nothing to draw becomes a picture with a title and the reason (``said``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from thalweg.present.charts.palette import GREY, SEQUENTIAL, category_styles, trial_styles

if TYPE_CHECKING:
    import altair
    import pandas


def stroke_legend(**more: Any) -> altair.Legend:
    """A legend that shows lines with their dashes, and names at full length."""
    import altair as alt

    given: dict[str, Any] = {"orient": "bottom", "columns": 2, **more}
    return alt.Legend(
        symbolType="stroke", symbolSize=500, symbolStrokeWidth=2.5, labelLimit=0, symbolOpacity=1, **given
    )


def color_and_dash(
    field: str, title: str, domain: Sequence[Any], ordered: bool = False, columns: int = 2
) -> dict[str, Any]:
    """Encodings of a category by colour and dash together, with one legend.

    A trial has the style of its optimizer; an ordered category runs from dark to light.
    """
    import altair as alt

    names = list(domain)
    legend = stroke_legend(columns=columns)
    styles = trial_styles(names) if field == "trial" else category_styles(names)
    colors: dict[str, Any] = {"range": [styles[name].color for name in names]}
    if ordered:
        colors = {"scheme": _dark_to_light()}
    dashes = [list(styles[name].dash) for name in names]
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
    """Encodings of the column ``depth``, from dark at the input to light at the output."""
    return color_and_dash("depth", "layer (1: input)", sorted(rows["depth"].unique()), ordered=True, columns=12)


def _dark_to_light() -> altair.SchemeParams:
    import altair as alt

    # without the last tenth, a yellow that a white page swallows
    return alt.SchemeParams(name=SEQUENTIAL, extent=[0, 0.9])


def heading(title: str, about: str | Sequence[str] = ()) -> altair.TitleParams:
    """A title, with lines about it in grey."""
    import altair as alt

    lines = [line for line in ([about] if isinstance(about, str) else about) if line]
    return alt.TitleParams(title, subtitle=lines, subtitleColor=GREY) if lines else alt.TitleParams(title)


def by_trial(chart: Any, table: pandas.DataFrame, title: str, about: str | Sequence[str] = ()) -> altair.TopLevelMixin:
    """One picture of the table, or one for each trial where it has a column ``trial``."""
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
    """A picture with a title and the reason why it draws nothing."""
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
    """The values as numbers; a value that is not finite becomes nan."""
    import numpy as np
    import pandas as pd

    numbers: pandas.Series = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers))


def count_missing(values: pandas.Series, what: str = "points") -> str:
    """How many of the values are nan, in words; empty where none is."""
    wrong = int(values.isna().sum())
    return f"{wrong} of {len(values)} {what} are not finite (crosses at the top)" if wrong else ""


def crosses(base: Any, column: str, x: Any) -> Any:
    """A cross at the top edge for each row whose value in the column is missing."""
    import altair as alt

    return (
        base.transform_filter(f"!isValid(datum['{column}'])")
        .mark_text(text="\u00d7", fontSize=16, color="black")
        .encode(x=x, y=alt.value(6))
    )


def loss_scale(values: pandas.Series) -> str:
    """``"log"`` where every finite loss is positive, else ``"linear"``."""
    known = finite(values).dropna()
    return "log" if len(known) and (known > 0).all() else "linear"


def number_format(values: Any, log: bool = False) -> str:
    """The d3 format of an axis: all numbers written out, or all with an exponent."""
    largest = finite(values).abs().max()
    if log or math.isnan(largest):
        return "~g"
    return "~r" if 1e-3 <= largest < 1e6 else "~e"


def lonely(rows: pandas.DataFrame, keys: Sequence[str], least: int = 2) -> bool:
    """Whether a line of the table has fewer than ``least`` points, and so cannot be seen."""
    there = [key for key in keys if key in rows]
    sizes = rows.groupby(there, sort=False).size() if there else None
    return len(rows) < least if sizes is None else bool((sizes < least).any())
