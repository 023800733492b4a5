"""The learning curve of one trial."""

from __future__ import annotations

import altair as alt
import pandas as pd

from thalweg.contracts import Metric
from thalweg.present.charts.axes import Layers, value_axis, value_scale, value_title
from thalweg.present.charts.palette import GREY, category_styles
from thalweg.present.numbers import format_of

SPLITS = ("train", "valid", "test", "optimizer")


def trial_chart(curve: pd.DataFrame, metric: Metric, selected_step: int | None) -> Layers:
    """A line for each split, points for the test split, and a dotted line at the step that validation selects.

    A split that was evaluated once has a point.
    """
    rows = curve[(curve["metric"] == metric.name) & curve["value"].notna()]
    as_point = (rows["split"] == "test") | (rows.groupby("split")["step"].transform("nunique") < 2)
    log = metric.scale == "log" and bool((rows["value"] > 0).all())
    styles = category_styles(SPLITS)
    domain = [split for split in SPLITS if split in set(rows["split"])]
    color = alt.Color(
        "split:N",
        title=None,
        scale=alt.Scale(domain=domain, range=[styles[split].color for split in domain]),
        legend=alt.Legend(orient="bottom", symbolSize=80),
    )
    # an axis of a single value would have no ticks
    once = rows["step"].nunique() < 2
    ends = alt.Scale(domain=[0, max(1, int(rows["step"].max()))]) if once and len(rows) else alt.Undefined
    encodings = {
        "x": alt.X("step:Q", title="steps", scale=ends, axis=alt.Axis(format="~s", tickCount=8, tickMinStep=1)),
        "y": alt.Y(
            "value:Q",
            title=value_title(metric, "", log),
            axis=value_axis(Metric(metric.name, metric.better, "log" if log else "linear", metric.unit), rows["value"]),
            scale=value_scale(log),
        ),
        "color": color,
        "tooltip": [
            alt.Tooltip("split:N"),
            alt.Tooltip("step:Q", format=","),
            alt.Tooltip("value:Q", title=metric.name, format=format_of(metric.unit).d3),
        ],
    }
    layers: list[alt.Chart] = [
        alt.Chart(rows[~as_point]).mark_line(strokeWidth=2).encode(**encodings),
        alt.Chart(rows[as_point]).mark_point(filled=True, size=90, opacity=1).encode(**encodings),
    ]
    if selected_step is not None:
        rule = alt.Chart(pd.DataFrame({"step": [selected_step], "what": ["selected by validation"]}))
        layers.append(rule.mark_rule(strokeDash=[2, 3], color=GREY).encode(x="step:Q", tooltip=["what:N", "step:Q"]))
    return alt.layer(*layers).properties(width="container", height=320)
