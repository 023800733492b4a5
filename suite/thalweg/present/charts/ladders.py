"""The matrix of ladders: the highest level that each optimizer passes of each task."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from thalweg.present.charts.axes import Layers
from thalweg.present.charts.palette import SEQUENTIAL
from thalweg.present.numbers import DASH


def ladder_chart(table: pd.DataFrame, order: Sequence[str]) -> Layers:
    """A cell for each task and optimizer: its colour and its large number are the level, its small number the tries.

    Args:
        table: the columns of ``thalweg.scoring.ladders.COLUMNS``.
        order: the optimizers, the best first.
    """
    tasks = list(dict.fromkeys(table["task"]))
    most = int(table["levels"].max())
    told = table.assign(
        small=[
            f"{tries or DASH}" if level else "" for level, tries in zip(table["level"], table["tries"], strict=True)
        ],
        large=[
            f"{level}{'+' if missing else ''}" for level, missing in zip(table["level"], table["missing"], strict=True)
        ],
    )
    x = alt.X("task:N", sort=tasks, title=None, axis=alt.Axis(orient="top", labelAngle=-45, labelOverlap=False))
    y = alt.Y("optimizer:N", sort=list(order), title=None, axis=alt.Axis(labelLimit=150, labelOverlap=False))
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("task:N"),
        alt.Tooltip("level:Q", title="levels passed"),
        alt.Tooltip("tries:Q", title="tries at that level"),
        alt.Tooltip("reached:Q", title="seeds that reached it"),
        alt.Tooltip("seeds:Q", title="of"),
        alt.Tooltip("next:N", title="not passed"),
        alt.Tooltip("next_reached:Q", title="seeds that reached that"),
    ]
    base = alt.Chart(told).encode(x=x, y=y, tooltip=tooltip)
    color = alt.Color(
        "level:Q",
        scale=alt.Scale(scheme=SEQUENTIAL, domain=[0, most]),
        legend=alt.Legend(title="levels passed", orient="bottom", tickCount=most, gradientLength=160),
    )
    ink = alt.when(alt.datum.level > most * 0.6).then(alt.value("black")).otherwise(alt.value("white"))
    cells = base.mark_rect().encode(color=color)
    large = base.mark_text(dy=-4, fontSize=14, fontWeight="bold").encode(text="large:N", color=ink)
    small = base.mark_text(dy=9, fontSize=10).encode(text="small:N", color=ink)
    chart = alt.layer(cells, large, small)
    # the height holds for the names of tasks and the legend too
    return chart.properties(width="container", height=36 * len(order) + 150)
