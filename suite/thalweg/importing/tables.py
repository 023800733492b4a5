"""Reads CSV and Parquet: tidy tables, one value a row, and wide ones, one column for each quantity."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thalweg import __version__
from thalweg.errors import UserError, unknown
from thalweg.failure import Failure
from thalweg.importing.keys import guessed
from thalweg.importing.runs import COSTS, ForeignRun, Read
from thalweg.limits import ROWS, TABLE_BYTES

ENDINGS = (".csv", ".tsv", ".parquet")

TIDY = ("step", "split", "metric", "value")
"""A table with these columns is tidy."""

NAMING = ("workload", "optimizer", "seed", "run", "hash")
"""Columns that tell runs apart, besides hyperparameters."""

SAYS = ("benchmark", "status", "reason")
"""Columns that say something of a run, and do not tell it from others."""

STEPS = ("step", "steps", "iteration", "iter", "global_step", "_step", "epoch", "epochs")
"""Columns of a wide table that count, the first that is there."""

_MISSING = ["", "NA", "N/A", "n/a", "null", "None", "<NA>"]
"""What is not measured. ``nan`` is a number that a diverged training gives."""

LONGEST_LINE = 1_000_000
"""Bytes of a line of text that is read."""


def read_tables(paths: Sequence[Path], step: str = "") -> Read:
    """The runs of CSV and Parquet files.

    A tidy table has ``step, split, metric, value``; ``workload``, ``optimizer``, ``seed``, ``run``, ``hash`` and
    further columns tell runs apart, and ``status`` and ``reason`` say how they ended. Any other table has a column for
    each quantity, and is one run where none of these columns tells several apart.

    Args:
        paths: the files.
        step: the column that counts steps; empty where it has one of the usual names.

    Raises:
        UserError: a file cannot be read.
    """
    notes: Counter[str] = Counter()
    runs = [run for path in paths for run in _runs_of(path, step, notes)]
    return Read("csv", f"thalweg {__version__}", runs, list(notes))


def _runs_of(path: Path, step: str, notes: Counter[str]) -> Iterator[ForeignRun]:
    table = _table(path)
    if table.empty:
        raise UserError(f"{path}: has no rows")
    if step and step not in table.columns:
        raise UserError(f"{path}: --map step: {unknown('column', step, map(str, table.columns))}")
    if step:
        table = table.rename(columns={step: "step"})
    if set(TIDY) <= set(table.columns):
        yield from _tidy(path, table, notes)
    else:
        yield from _wide(path, table)


def _table(path: Path) -> pd.DataFrame:
    """A file as a table: an empty cell is None, and ``nan`` is a number."""
    try:
        table = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except UserError:
        raise
    except Exception as error:  # pandas and pyarrow raise errors of many kinds
        raise UserError(f"{path}: cannot be read ({Failure.of(error).line})") from error
    own = {name.lower() for name in (*TIDY, *NAMING, *COSTS, *SAYS)}
    names = [str(name).strip() for name in table.columns]
    table.columns = pd.Index([name.lower() if name.lower() in own else name for name in names])
    if len(set(table.columns)) < len(table.columns):
        raise UserError(f"{path}: has two columns of one name")
    return table


def _csv(path: Path) -> pd.DataFrame:
    _check_lines(path)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.readline()
    separator = "\t" if path.suffix == ".tsv" else ";" if ";" in head and "," not in head else ","
    table = pd.read_csv(
        path,
        sep=separator,
        skipinitialspace=True,
        keep_default_na=False,
        na_values=_MISSING,
        comment=None,
        dtype=object,
        encoding="utf-8-sig",
    )
    return table.where(table.notna(), None)


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    ROWS.check(file.metadata.num_rows, str(path))
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    TABLE_BYTES.check(sum(group.total_byte_size for group in groups), str(path))
    read = file.read()
    found: pd.DataFrame = read.to_pandas()
    tidy = set(TIDY) <= {str(name).strip().lower() for name in read.column_names}
    for name in read.column_names:
        # pandas writes nan as null; a row of a tidy table would not be there without a value
        if read.column(name).null_count and name in found and not (tidy and name.strip().lower() == "value"):
            found[name] = pd.Series(read.column(name).to_pylist(), index=found.index, dtype=object)
    return found


def _missing(column: pd.Series) -> pd.Series:
    """Which cells were not measured."""
    if column.dtype == object:
        return column.map(lambda cell: cell is None)
    return pd.Series(False, column.index) if column.dtype.kind in "biuf" else column.isna()


def _check_lines(path: Path) -> None:
    """UserError where a line is longer than any table's, or the file has more rows than are read."""
    longest, lines, length = 0, 0, 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            pieces = part.split(b"\n")
            lines += len(pieces) - 1
            length += len(pieces[0])
            longest = max(longest, length, *(len(piece) for piece in pieces[1:]))
            length = length if len(pieces) == 1 else len(pieces[-1])
            if longest > LONGEST_LINE:
                raise UserError(f"{path}: has a line of more than {LONGEST_LINE:,} bytes, which no table has")
            ROWS.check(lines, str(path))


def _tidy(path: Path, table: pd.DataFrame, notes: Counter[str]) -> Iterator[ForeignRun]:
    unmeasured = _missing(table["metric"]) | _missing(table["step"]) | _missing(table["value"])
    naming = _naming(table, ~unmeasured, notes)
    measured = table[~unmeasured]
    rows = pd.DataFrame(
        {
            "step": _numbers(path, measured["step"], "step"),
            "key": pd.Series(_pairs(measured), index=measured.index),
            "value": _numbers(path, measured["value"], "value"),
            **{name: _numbers(path, measured[name], name) for name in COSTS if name in measured},
        }
    )
    said = table[[name for name in SAYS if name in table]]
    runs: Any = (
        table.groupby(naming, sort=False, dropna=False, observed=True).indices if naming else {(): range(len(table))}
    )
    kept = (~unmeasured).to_numpy()
    place_of = np.cumsum(kept) - 1
    for number, (values, index) in enumerate(runs.items()):
        index = np.asarray(index)
        parameters = {
            name: plain(value)
            for name, value in zip(naming, values if isinstance(values, tuple) else (values,), strict=True)
            if value is not None and value == value
        }
        first = {name: said[name].iloc[index[0]] for name in said}
        status: Any = first.get("status", "")
        reason = first.get("reason", "")
        yield ForeignRun(
            str(parameters.get("run", parameters.get("hash", number))),
            path,
            rows.iloc[place_of[index[kept[index]]]].reset_index(drop=True),
            parameters,
            status if status in ("done", "diverged", "failed") else "",
            reason if isinstance(reason, str) else "",
        )


def _naming(table: pd.DataFrame, measured: pd.Series, notes: Counter[str]) -> list[str]:
    """The columns that tell runs apart: those of a run, and hyperparameters.

    What differs from row to row of a run, such as a scheduled rate or a time, is none.
    """
    own = [name for name in NAMING if name in table]
    further = [name for name in table.columns if name not in (*TIDY, *COSTS, *SAYS, *own)]
    if not further:
        return own
    rows = table[measured]
    whole = not rows.duplicated([*own, "step", "split", "metric"]).any()
    groups = rows.groupby(own, sort=False, dropna=False, observed=True) if own else None
    found = list(own)
    for name in further:
        if groups is None:
            values, most = rows[name].nunique(dropna=False), len(rows)
            varies, each = values > 1, values == most > 1
        else:
            counts = groups[name].nunique(dropna=False)
            varies, each = bool((counts > 1).any()), bool(((counts == groups.size()) & (counts > 1)).any())
        if varies and (whole or each):
            notes[f"{name} differs within runs, and is taken for no setting"] += 1
        else:
            found.append(name)
    return found


def _pairs(rows: pd.DataFrame) -> Any:
    """``split.metric`` of each row. To join the texts of millions of rows would take seconds."""
    (split, splits), (metric, metrics) = (pd.factorize(rows[name].astype(object)) for name in ("split", "metric"))
    found, codes = np.unique(split * max(len(metrics), 1) + metric, return_inverse=True)
    names = [f"{splits[one // len(metrics)]}.{metrics[one % len(metrics)]}" for one in found.tolist()]
    return pd.Categorical.from_codes(np.asarray(codes, np.int64), pd.Index(names))


def _wide(path: Path, table: pd.DataFrame) -> Iterator[ForeignRun]:
    lower = {str(name).lower(): str(name) for name in table.columns}
    count = next((lower[name] for name in STEPS if name in lower), None)
    if count is None:
        listed = ", ".join([str(name) for name in table.columns][:12])
        raise UserError(f"{path}: no column counts steps; it has {listed}: --map step=COLUMN names it")
    own = [name for name in NAMING if name in table]
    if not own:
        yield melted(path, path.stem, table, count)
        return
    for values, rows in table.groupby(own, sort=False, dropna=False, observed=True):
        told = dict(zip(own, values if isinstance(values, tuple) else (values,), strict=True))
        run = melted(path, path.stem, rows.drop(columns=own), count)
        named = {name: plain(value) for name, value in told.items() if value is not None and value == value}
        name = " ".join(str(value) for value in named.values())
        yield replace(run, name=f"{run.name} {name}".strip(), parameters={**run.parameters, **named})


def melted(path: Path, name: str, table: pd.DataFrame, count: str) -> ForeignRun:
    """A wide table as a run: a column of numbers is a quantity, and one that never changes and is none a parameter."""
    steps = _numbers(path, table[count], count)
    parts, parameters = [], {}
    for column in table.columns:
        if column == count or column in SAYS:
            continue
        there = ~_missing(table[column]) & ~_missing(table[count])
        cells = table.loc[there, column]
        alike = set(cells.astype(str)) if guessed(str(column)) is None and column not in COSTS else set()
        if len(alike) == 1 and len(cells) > 1:
            parameters[str(column)] = plain(cells.iloc[0])  # what never changes is a setting
            continue
        try:
            values = _numbers(path, cells, str(column))
        except UserError:
            continue
        if there.any():
            parts.append(pd.DataFrame({"step": steps[there], "key": str(column), "value": values}))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"step": [], "key": [], "value": []})
    return ForeignRun(name, path, rows, parameters)


def _numbers(path: Path, column: pd.Series, name: str) -> pd.Series:
    """The numbers of a column; UserError where a cell is none."""
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    try:
        return column.map(_number).astype(float)
    except ValueError as error:
        raise UserError(f"{path}: column {name!r}: {error}") from error


_SPECIAL = {"nan": np.nan, "inf": np.inf, "infinity": np.inf, "-inf": -np.inf, "-infinity": -np.inf, "+inf": np.inf}


def _number(cell: Any) -> float:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return float("nan")
    text = str(cell).strip()
    if text.lower() in _SPECIAL:
        return _SPECIAL[text.lower()]
    # a leading apostrophe keeps a spreadsheet from computing a cell
    if re.fullmatch(r"'?[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        return float(text.lstrip("'"))
    raise ValueError(f"{text[:40]!r} is no number")


def plain(value: Any) -> Any:
    """A cell as a whole number, a number, a truth value or a text."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[-+]?\d{1,18}", value):
        return int(value)
    try:
        return _number(value)
    except ValueError:
        return {"true": True, "false": False}.get(value.lower(), value)
