"""The scores of a benchmark with ladders: the matrix, its picture, and the sentences about them."""

from __future__ import annotations

import pandas as pd

from thalweg.present.loaded import Loaded
from thalweg.present.numbers import DASH
from thalweg.present.picture import Picture
from thalweg.present.table import Column, Row, Table, table
from thalweg.scoring.ladders import climb

INTRODUCTION = (
    "The highest level that each optimizer passes of each task. A level is passed if more than half of the seeds reach "
    "the target, and all lower levels are passed. The number of tries is the place of the first setting that reached "
    "the target, in a sequence that is the same for all; a dash says that only the seeds that count did. Optimizers "
    "are sorted by the sum of their levels; the order of near ones means little."
)


def scores_of(loaded: Loaded) -> pd.DataFrame | None:
    """The scores (``thalweg.scoring.ladders.COLUMNS``); None where the benchmark has no ladders or cannot be read."""
    ladders = loaded.benchmark.spec.ladders if loaded.benchmark else {}
    plan = loaded.view.plan
    return climb(plan, loaded.view.everything, ladders) if ladders and plan else None


def order(scores: pd.DataFrame) -> list[str]:
    """The optimizers by the sum of their levels, the best first."""
    sums = scores.groupby("optimizer", sort=False)["level"].sum()
    return [str(name) for name in sums.sort_values(ascending=False, kind="stable").index]


def matrix(scores: pd.DataFrame) -> Table:
    """A row for each optimizer and a column for each task: levels passed, with the tries in brackets."""
    tasks = list(dict.fromkeys(scores["task"]))
    cells: dict[tuple[str, str], str] = {}
    for row in scores.to_dict("records"):
        cells[row["optimizer"], row["task"]] = _cell({str(key): value for key, value in row.items()})
    sums = scores.groupby("optimizer")["level"].sum()
    most = int(scores.groupby("optimizer")["levels"].sum().max())
    rows = pd.DataFrame([{"optimizer": name} for name in order(scores)])
    columns = [
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column("sum", f"of {most}", lambda row: str(sums[row["optimizer"]]), help="the sum of the levels"),
    ]
    columns += [
        Column(task, task, lambda row, task=task: cells[row["optimizer"], task])  # type: ignore[misc]
        for task in tasks
    ]
    return table(columns, rows)


def picture(scores: pd.DataFrame) -> Picture:
    """The matrix as a chart."""
    from thalweg.present.charts.ladders import ladder_chart

    caption = (
        "Levels passed (large) and tries (small). A plus says that trials of the next level are not there yet."
        if scores["missing"].any()
        else "Levels passed (large) and tries (small)."
    )
    return Picture(ladder_chart(scores, order(scores)), caption)


def _cell(row: Row) -> str:
    more = "+" if row["missing"] else ""
    return f"{row['level']}{more} ({row['tries'] or DASH})" if row["level"] else f"0{more}"
