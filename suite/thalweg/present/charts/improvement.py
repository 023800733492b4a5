"""The matrix of probabilities of improvement (Agarwal et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.present.charts.axes import Layers, interval_tooltips
from thalweg.present.charts.palette import DIVERGING, MATRIX_TEXT


def improvement_chart(pairs: pd.DataFrame, order: Sequence[str]) -> Layers:
    """The probability that a trial of the row's optimizer is better than a trial of the column's optimizer.

    Rows and columns follow ``order``. ``pairs`` has the columns optimizer, over, probability, low, high (see
    ``thalweg.scoring.pooled``). Bold type marks a probability whose interval does not hold one half.
    """
    rows = pairs.assign(certain=(pairs["low"] > 0.5) | (pairs["high"] < 0.5))
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("over:N", title="better than"),
        alt.Tooltip("probability:Q", format=".2f"),
        *interval_tooltips(".2f"),
    ]
    base = alt.Chart(rows).encode(
        x=alt.X(
            "over:N", sort=list(order), title="is better than one of",
            axis=alt.Axis(orient="top", labelAngle=-40, labelLimit=140, labelOverlap=False),
        ),
        y=alt.Y("optimizer:N", sort=list(order), title="a trial of", axis=alt.Axis(labelLimit=140, labelOverlap=False)),
        tooltip=tooltip,
    )  # fmt: skip
    cells = base.mark_rect().encode(
        color=alt.Color(
            "probability:Q",
            scale=alt.Scale(scheme=DIVERGING, domain=[0, 1], reverse=True),
            legend=alt.Legend(
                title="probability", orient="bottom", gradientLength=160, format=".1f", values=[0, 0.5, 1]
            ),
        )
    )
    dark = "abs(datum.probability - 0.5) > 0.32"
    labels = base.mark_text(fontSize=11).encode(
        text=alt.Text("probability:Q", format=".2f"),
        color=alt.condition(dark, alt.value(MATRIX_TEXT[1]), alt.value(MATRIX_TEXT[0])),
    )
    sure = alt.datum.certain
    return alt.layer(
        cells,
        labels.transform_filter(~sure),
        labels.mark_text(fontSize=11, fontWeight="bold").transform_filter(sure),
    ).properties(width=alt.Step(46), height=alt.Step(26))
