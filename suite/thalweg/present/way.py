"""The path of an optimizer in a probe's table, and a part of it."""

from __future__ import annotations

import pandas as pd

PLAY_SECONDS = 1.0
"""The time of a picture while the path plays."""
MOST = 60
"""Steps of the slider, at most."""


def steps_of(table: pd.DataFrame) -> list[float]:
    """The steps of a path of three points or more in a table with the columns ``kind`` and ``step``; else none."""
    if not {"kind", "step"} <= set(table.columns):
        return []
    steps = sorted(float(step) for step in table.loc[table["kind"] == "path", "step"].dropna().unique())
    every = -(-len(steps) // MOST)
    return sorted({*steps[::every], steps[-1]}) if len(steps) > 2 else []


def until(table: pd.DataFrame, step: float) -> pd.DataFrame:
    """The table with the path up to a step; all other rows stay."""
    return table[(table["kind"] != "path") | (table["step"] <= step)]
