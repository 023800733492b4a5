"""Checks what a probe returns, and joins its measurements to one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from thalweg.contracts import Probe


def checked(probe: Probe, part: Any) -> Any:
    """One measurement as a DataFrame or as columns; ValueError unless it has the declared columns."""
    if not isinstance(part, pd.DataFrame | Mapping):
        raise ValueError(f"probe {probe.name!r} returned {type(part).__name__} and no DataFrame, nor its columns")
    declared = [column.name for column in probe.columns]
    if list(part) != declared:
        found = ", ".join(map(str, part))
        raise ValueError(f"probe {probe.name!r} declares the columns {', '.join(declared)} and returned {found}")
    return part


def joined(probe: Probe, parts: Sequence[Any]) -> pd.DataFrame:
    """The rows of all measurements; ValueError where they cannot be written to a file."""
    names = [column.name for column in probe.columns]
    if not parts:
        return pd.DataFrame(columns=names)
    if any(isinstance(part, pd.DataFrame) for part in parts):
        table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    else:
        together = [_columns(probe, part) for part in parts]
        table = pd.DataFrame({name: [value for part in together for value in part[name]] for name in names})
    # numbers and Arrow's texts can always be written, and trying takes as long as a training step
    others = [name for name, dtype in table.dtypes.items() if not _surely_written(dtype)]
    if others:
        pa.Table.from_pandas(table[others], preserve_index=False)
    return table


def _columns(probe: Probe, part: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns as lists; ValueError where their lengths differ."""
    lists = {name: column if _is_column(column) else None for name, column in part.items()}
    lengths = {len(column) for column in lists.values() if column is not None} or {1}
    if len(lengths) > 1:
        told = ", ".join(map(str, sorted(lengths)))
        raise ValueError(f"probe {probe.name!r} returned columns of different lengths: {told}")
    (length,) = lengths
    return {name: [part[name]] * length if column is None else list(column) for name, column in lists.items()}


def _surely_written(dtype: Any) -> bool:
    return dtype.storage == "pyarrow" if isinstance(dtype, pd.StringDtype) else dtype.kind in "biuf"


def _is_column(values: Any) -> bool:
    """Whether a value has an entry for each row, and is not one value for all rows."""
    return hasattr(values, "__len__") and not isinstance(values, str)
