"""Tables of CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from thalweg.contracts.importer import COSTS, ForeignRun
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.foreign.cells import MISSING, number, plain
from thalweg.foreign.files import head_of
from thalweg.limits import LINE_BYTES, ROWS, TABLE_BYTES

ENDINGS = (".csv", ".tsv", ".parquet")


def table_of(path: Path, kept: Collection[str] = ()) -> pd.DataFrame:
    """The table of a CSV, TSV or Parquet file; names have no blanks around them.

    A cell of a CSV file is a text, and one that was not measured is None. In Parquet null counts as nan in a column of
    numbers that is among ``kept``, because pandas writes nan so; elsewhere it is None.

    Raises:
        UserError: the file cannot be read, has no rows, or has two columns of one name.
    """
    try:
        table = _parquet(path, kept) if path.suffix == ".parquet" else _csv(path)
    except UserError:
        raise
    except Exception as error:  # pandas and pyarrow raise errors of many kinds
        raise UserError(f"{path}: cannot be read ({Failure.of(error).line})") from error
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    if len(set(table.columns)) < len(table.columns):
        raise UserError(f"{path}: has two columns of one name")
    if table.empty:
        raise UserError(f"{path}: has no rows")
    return table


def header_of(path: Path) -> list[str]:
    """The columns' names of a CSV, TSV or Parquet file; without content where the file cannot be read."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(path)
            return [str(name).strip() for name in (*schema.names, *_ranges(schema))]
        except (OSError, pa.ArrowException):
            return []
    line = head_of(path).partition("\n")[0].strip()
    return [name.strip().strip('"') for name in line.split(_separator(path, line))]


def missing(column: pd.Series) -> pd.Series:
    """Which cells of a column were not measured."""
    if column.dtype == object:
        return column.map(lambda cell: cell is None)
    return pd.Series(False, column.index) if column.dtype.kind in "biuf" else column.isna()


def numbers(path: Path, column: pd.Series, name: str) -> pd.Series:
    """The numbers of a column; UserError where a cell is none."""
    if pd.api.types.is_numeric_dtype(column):
        return column if column.dtype == float else column.astype(float)
    try:
        return column.map(number).astype(float)
    except ValueError as error:
        raise UserError(f"{path}: column {name!r}: {error}") from error


def codes_of(column: pd.Series) -> tuple[npt.NDArray[Any], list[str]]:
    """A column of texts as whole numbers, and the texts that they stand for.

    Texts of millions of rows would take seconds, and gigabytes.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), [str(one) for one in column.cat.categories]
    codes, found = pd.factorize(column)
    return codes, [str(one) for one in found]


def melted(
    path: Path, name: str, table: pd.DataFrame, count: str, own: Collection[str] = (), said: Collection[str] = ()
) -> ForeignRun:
    """A wide table as a run: a column of numbers is a quantity, and one that never changes a parameter.

    Args:
        path: the file.
        name: the run's name.
        table: the table.
        count: the column that counts steps.
        own: columns that are quantities even if they never change.
        said: columns that are neither.
    """
    steps = numbers(path, table[count], count)
    parts, parameters = [], {}
    for column in table.columns:
        if column == count or column in said:
            continue
        there = ~missing(table[column]) & ~missing(table[count])
        cells = table.loc[there, column]
        alike = set() if column in own or column in COSTS else set(cells.astype(str))
        if len(alike) == 1 and len(cells) > 1:
            parameters[str(column)] = plain(cells.iloc[0])
            continue
        try:
            values = numbers(path, cells, str(column))
        except UserError:
            if column in own:
                raise
            continue
        if there.any():
            parts.append(pd.DataFrame({"step": steps[there], "key": str(column), "value": values}))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"step": [], "key": [], "value": []})
    return ForeignRun(name, path, rows, parameters)


def _separator(path: Path, head: str) -> str:
    return "\t" if path.suffix == ".tsv" else ";" if ";" in head and "," not in head else ","


def _csv(path: Path) -> pd.DataFrame:
    _check_lines(path)
    head = head_of(path).partition("\n")[0]
    table = pd.read_csv(
        path,
        sep=_separator(path, head),
        skipinitialspace=True,
        keep_default_na=False,
        na_values=list(MISSING),
        comment=None,
        dtype=object,
        encoding="utf-8-sig",
    )
    return table.where(table.notna(), None)


def _parquet(path: Path, kept: Collection[str]) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    texts = [field.name for field in schema if _is_text(field.type)]
    if nested := [field.name for field in schema if pa.types.is_nested(field.type)]:
        raise UserError(f"{path}: column {nested[0]!r} holds lists or records")
    # as dictionaries, texts of millions of rows take little memory
    file = pq.ParquetFile(path, read_dictionary=texts)
    ROWS.check(file.metadata.num_rows, str(path))
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    TABLE_BYTES.check(sum(group.total_byte_size for group in groups), str(path))
    columns: dict[str, pd.Series] = {}
    # one column after the other: a whole table would be in memory twice
    for name in schema.names:
        if name.startswith("__index_level_"):
            continue  # an index without a name, which pandas writes as a column
        if name in columns:
            raise UserError(f"{path}: has two columns of one name")
        column = file.read(columns=[name]).column(name)
        if column.null_count and name.strip().lower() not in kept and not pa.types.is_dictionary(column.type):
            columns[name] = pd.Series(column.to_pylist(), dtype=object)
        else:
            columns[name] = column.to_pandas()
    for name, index in _ranges(schema).items():
        if len(index) == file.metadata.num_rows and name not in columns:
            columns[name] = pd.Series(index)
    return pd.DataFrame(columns, copy=False)


def _ranges(schema: Any) -> dict[str, range]:
    """The named indices of pandas that are ranges: it writes them into the metadata, and no column."""
    try:
        told = (schema.pandas_metadata or {}).get("index_columns", [])
        found = {one["name"]: range(one["start"], one["stop"], one["step"]) for one in told if isinstance(one, dict)}
    except (ValueError, TypeError, KeyError, AttributeError):  # metadata that a stranger wrote
        return {}
    return {name: index for name, index in found.items() if isinstance(name, str)}


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _check_lines(path: Path) -> None:
    """UserError where a line is longer than any table's, or the file has more rows than are read."""
    longest, lines, length, most = 0, 0, 0, LINE_BYTES.value
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            pieces = part.split(b"\n")
            lines += len(pieces) - 1
            length += len(pieces[0])
            longest = max(longest, length, *(len(piece) for piece in pieces[1:]))
            length = length if len(pieces) == 1 else len(pieces[-1])
            if longest > most:
                raise LINE_BYTES.reached(f"{path}: a line")
            ROWS.check(lines, str(path))
