"""CSV for spreadsheets, which compute what begins like a formula: such texts get an apostrophe in front."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from thalweg.shown import csv_cell


def to_csv(table: pd.DataFrame, out: Path | None = None, raw: bool = False) -> str:
    """Write a table as CSV, or give its text where there is no ``out``.

    Texts, headings among them, are as ``thalweg.shown.csv_cell`` has them; with ``raw`` they are as they are. Numbers
    stay numbers.
    """
    text = (table if raw else _as_text(table)).to_csv(out, index=False, errors="backslashreplace")
    return text or ""


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    made = {place: _cells(table.iloc[:, place]) for place in range(table.shape[1])}
    shown = pd.DataFrame(made, index=table.index)
    shown.columns = pd.Index([csv_cell(str(name)) for name in table.columns])
    return shown


def _cells(column: pd.Series) -> pd.Series:
    if column.dtype.kind in "biufcmM":
        return column
    # there are few different texts among many rows
    changed = {one: csv_cell(one) for one in column.unique() if isinstance(one, str) and csv_cell(one) != one}
    return column.astype(object).map(lambda value: changed.get(value, value)) if changed else column
