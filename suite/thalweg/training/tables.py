"""Whether what a probe returns is the table that it declares."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from thalweg.contracts import Probe


def checked_table(probe: Probe, table: Any) -> pd.DataFrame:
    """The table; ValueError unless it is a DataFrame of the declared columns that can be written to a file."""
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"probe {probe.name!r} returned {type(table).__name__} and no DataFrame")
    declared = [column.name for column in probe.columns]
    if list(table.columns) != declared:
        found = ", ".join(map(str, table.columns))
        raise ValueError(f"probe {probe.name!r} declares the columns {', '.join(declared)} and returned {found}")
    pa.Table.from_pandas(table, preserve_index=False)
    return table


def empty_table(probe: Probe) -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame(columns=[column.name for column in probe.columns])
