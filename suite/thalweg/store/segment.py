"""A segment of the index: rows of trials and of their curves, on disk or just read from the trials' files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thalweg.store.columns import CURVES, TEXT, TRIALS, row_of, trials_table
from thalweg.store.listing import FOLDER_STAMPS, STAMPS, VERSION, Listing, folder_stamps, numbers_of, open_parquet
from thalweg.store.results import BenchmarkResults
from thalweg.store.trials import Unreadable

ROWS = pa.schema([*TRIALS, *(pa.field(name, pa.int64()) for name in (*STAMPS, *FOLDER_STAMPS))])
METADATA = {b"thalweg-index": VERSION}
CURVE_ROWS = pa.schema([pa.field("row", pa.int32()), *CURVES])

Where = Mapping[str, Collection[str]]
"""The wanted values of ``split`` and ``metric``."""


@dataclass
class Segment:
    """Rows of trials, and rows of their curves by the number of the trial's row; ``path`` is None in memory."""

    rows: pa.Table
    path: Path | None = None
    parts: list[pa.Table] = field(default_factory=list)
    """The curves of a segment in memory."""

    @property
    def curves_path(self) -> Path | None:
        """The file of the curves; None in memory."""
        return self.path and self.path.with_suffix(".curves")

    def curves(
        self,
        columns: Sequence[str],
        where: Where = MappingProxyType({}),
        chosen: np.ndarray[Any, Any] | None = None,
    ) -> pa.Table:
        """The rows of the curves; OSError or ValueError where their file is damaged or gone.

        ``chosen`` says for each row of a trial whether its curve is wanted; None: all curves.
        """
        columns = ["row", *columns]
        chosen = None if chosen is None or chosen.all() else chosen
        if self.curves_path is None:
            parts = [_rows_where(part.select(columns), where, chosen) for part in self.parts]
        else:
            file = open_parquet(self.curves_path, read_dictionary=[name for name in TEXT if name in columns])
            # part by part, since few rows may be wanted
            parts = [
                _rows_where(file.read_row_group(i, columns), where, chosen)
                for i in range(file.num_row_groups)
                # the statistics in the file have no checksum, and the rows have one
                if chosen is None or chosen[file.read_row_group(i, ["row"]).column(0).to_numpy()].any()
            ]
        return pa.concat_tables([with_codes(CURVE_ROWS.empty_table()).select(columns), *parts])


def open_segment(path: Path) -> Segment | None:
    """A segment of this version of thalweg; None for anything else."""
    try:
        table = open_parquet(path).read()
    except (OSError, ValueError):
        return None
    if (table.schema.metadata or {}).get(b"thalweg-index") != VERSION or not table.schema.equals(ROWS):
        return None
    return Segment(table, path)


def match(
    segment: Segment, results: BenchmarkResults, listing: Listing, names: pa.Array, left: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """For each row of a segment the number of its trial; -1 where the trial's files have changed, or it has a row."""
    there = segment.rows.column("name")
    if there.equals(pa.chunked_array([names])):
        numbers = np.arange(len(names), dtype=np.int32)
    else:
        numbers = pc.index_in(there, value_set=names).fill_null(-1).to_numpy().astype(np.int32)
    counts = (numbers >= 0) & left[numbers] if len(names) else np.zeros(len(numbers), dtype=bool)
    recorded = numbers_of(segment.rows, STAMPS)
    counts[counts] = (recorded[counts] == listing.stamps[numbers[counts]]).all(axis=1)
    recorded = numbers_of(segment.rows, FOLDER_STAMPS)
    for row in np.flatnonzero(counts & recorded.any(axis=1)):
        counts[row] = folder_stamps(results.trials / listing.names[numbers[row]]) == recorded[row].tolist()
    return np.where(counts, numbers, np.int32(-1))


def read_trials(
    results: BenchmarkResults, names: Sequence[str], stamps: np.ndarray[Any, Any]
) -> tuple[Segment, list[Unreadable]]:
    """Read trials from their files; the stamps were taken before."""
    segment, unreadable = Segment(ROWS.empty_table()), []
    rows: list[dict[str, Any]] = []
    tables: list[pa.Table] = []
    curves: list[pa.Table] = []
    count = 0

    def pack() -> None:
        # thousands of small tables take more memory than their content
        if rows:
            tables.append(trials_table(rows, ROWS))
            segment.parts.append(with_codes(pa.concat_tables(curves).combine_chunks()))
            rows.clear()
            curves.clear()

    for name, stamp in zip(names, stamps.tolist(), strict=True):
        folders = folder_stamps(results.trials / name)
        trial = results.trial(name)
        if isinstance(trial, Unreadable):
            unreadable.append(trial)
            continue
        row, curve = row_of(trial)
        rows.append(row | dict(zip((*STAMPS, *FOLDER_STAMPS), (*stamp, *folders), strict=True)))
        curves.append(curve.add_column(0, CURVE_ROWS.field(0), pa.array(np.full(curve.num_rows, count, np.int32))))
        count += 1
        if len(rows) == 2000:
            pack()
    pack()
    if tables:
        segment.rows = pa.concat_tables(tables).combine_chunks()
    return segment, unreadable


def _rows_where(curves: pa.Table, where: Where, chosen: np.ndarray[Any, Any] | None) -> pa.Table:
    """The rows of the chosen trials that have a wanted value in each column of ``where``."""
    good = np.ones(curves.num_rows, bool) if chosen is None else chosen[curves.column("row").to_numpy()]
    for name, wanted in where.items():
        column = curves.column(name).combine_chunks()
        values = pc.is_in(column.dictionary, value_set=pa.array(sorted(wanted), pa.string()))
        good &= values.to_numpy(zero_copy_only=False)[column.indices.to_numpy()]
    return curves if good.all() else curves.filter(pa.array(good))


def with_codes(curves: pa.Table) -> pa.Table:
    """Code texts as numbers of a dictionary."""
    for name in TEXT:
        number = curves.column_names.index(name)
        curves = curves.set_column(number, name, curves.column(name).dictionary_encode())
    return curves


def remove(segment: Segment) -> None:
    """Delete a segment's files."""
    for path in (segment.path, segment.curves_path):
        with suppress(OSError):
            if path is not None:
                path.unlink()
