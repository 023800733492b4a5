"""CSV for spreadsheets: a text that begins like a formula gets an apostrophe in front, so that nothing computes it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from thalweg.shown import csv_cell


def to_csv(table: pd.DataFrame, out: Path | None = None, raw: bool = False) -> str:
    """The table as CSV: written to ``out``, or returned without ``out``.

    ``thalweg.shown.csv_cell`` makes texts and headings safe; with ``raw`` they stay unchanged. Numbers stay numbers.
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
    # many rows hold few different texts
    changed = {one: csv_cell(one) for one in column.unique() if isinstance(one, str) and csv_cell(one) != one}
    return column.astype(object).map(lambda value: changed.get(value, value)) if changed else column
