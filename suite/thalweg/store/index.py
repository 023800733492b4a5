"""The derived index of a benchmark's trials: it lists and ranks 100,000 trials without opening 200,000 files.

The results are the truth, and the index may be deleted at any time. A folder in the user's cache holds segments: pairs
of Parquet files with one row a trial (``columns.TRIALS``) and the rows of the trials' curves. Each row carries stamps
of the trial's files, taken before the files were read: times and sizes in a folder, the identity of all bytes in a
packed file. A row counts only while the files have equal stamps, so a segment may become useless and is never wrong.
Every process adds its own segments. A trial without a row that counts is read from its files.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from thalweg import guard
from thalweg.store.archive import RACY
from thalweg.store.columns import CURVES, TRIALS
from thalweg.store.listing import (
    FOLDER_STAMPS,
    Listing,
    index_folder,
    look,
    make_index_folder,
    numbers_of,
)
from thalweg.store.results import BenchmarkResults
from thalweg.store.segment import METADATA, ROWS, Segment, match, open_segment, read_trials, remove
from thalweg.store.stored import Stored
from thalweg.store.trials import Unreadable

WORTH = 64
"""Trials that are worth a segment: fewer are read again instead."""
SEGMENTS = 8
"""Segments at most; when there are more, one segment replaces all of them."""


def read_stored(results: BenchmarkResults, listing: Listing | None = None) -> Stored:
    """The trials on disk, from the index where its rows count; new trials are read, and added to the index."""
    return Index(results).read(listing)


def read_counted(results: BenchmarkResults) -> Stored:
    """The trials on disk that count: all but the unfinished ones."""
    return read_stored(results).counted


class Index:
    """Reads and writes the segments of one benchmark."""

    def __init__(self, results: BenchmarkResults) -> None:
        self.results = results
        self.path = index_folder(results)

    def rebuild(self) -> Stored:
        """Read every trial's files and replace all segments by one.

        Raises:
            OSError: the segment cannot be written.
        """
        # segments that another process adds meanwhile may stay
        guard.remove_left(self.path)
        make_index_folder(self.results)
        return self.read(look(self.results, again=True), worth=1)

    def read(self, listing: Listing | None = None, worth: int | None = None) -> Stored:
        """All trials: from rows that count, and the others from their files.

        Trials that were read become a segment where they are at least ``worth`` many (WORTH).
        """
        worth = WORTH if worth is None else worth
        listing = listing or look(self.results)
        segments = [segment for path in self._files() if (segment := open_segment(path))]
        names = _texts(listing.names)
        left = np.ones(len(names), dtype=bool)
        places = []
        for segment in segments:
            places.append(match(segment, self.results, listing, names, left))
            left[places[-1][places[-1] >= 0]] = False
        missing = np.flatnonzero(left)
        unreadable: list[Unreadable] = []
        if len(missing):
            now = self._now() if len(missing) >= worth else 0
            fresh, unreadable = read_trials(self.results, [listing.names[i] for i in missing], listing.stamps[missing])
            segments.append(fresh)
            places.append(match(fresh, self.results, listing, names, left))
            if now:
                self._keep(segments, places, now)
        if self.results.refusal:
            unreadable.append(Unreadable(self.results.path, self.results.refusal))
        return _joined(self.results, segments, places, unreadable, len(missing))

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if path.suffix == ".trials")
        except OSError:
            return []

    def _now(self) -> int:
        """The time on the clock of the index's file system; 0 where the index cannot be written."""
        probe = self.path / f"{os.getpid()}-{time.time_ns():x}.partial"
        try:
            make_index_folder(self.results)
            probe.touch()
            now = probe.stat().st_mtime_ns
            probe.unlink()
        except OSError:
            return 0
        return now

    def _keep(self, segments: list[Segment], places: list[np.ndarray[Any, Any]], now: int) -> None:
        """Write the last segment, which was just read; or all as one where there are too many, or most is old."""
        rows = sum(segment.rows.num_rows for segment in segments)
        live = sum(int((place >= 0).sum()) for place in places)
        on_disk = segments[:-1]
        whole = len(on_disk) >= SEGMENTS or rows > 2 * live
        chosen = list(zip(segments, places, strict=True)) if whole else [(segments[-1], places[-1])]
        try:
            self._write(chosen, now)
        except (OSError, ValueError):
            return  # a full disk, or a damaged segment: the next command tries again
        if whole:
            for segment in on_disk:
                remove(segment)

    def _write(self, chosen: list[tuple[Segment, np.ndarray[Any, Any]]], now: int) -> None:
        """Write the rows that count, in the trials' order, without rows whose files may yet change at an equal time."""
        keeps = []
        for segment, places in chosen:
            changed = numbers_of(segment.rows, ("json_ns", "curve_ns", *FOLDER_STAMPS)).max(axis=1, initial=0)
            errors = segment.rows.column("curve_error").to_numpy()
            keeps.append((places >= 0) & (changed < now - RACY) & (errors == ""))
        kept = np.concatenate([places[keep] for (_, places), keep in zip(chosen, keeps, strict=True)])
        if not len(kept):
            return
        order = np.argsort(kept)
        row_of_place = np.zeros(int(kept.max()) + 1, np.int32)
        row_of_place[kept[order]] = np.arange(len(kept), dtype=np.int32)
        rows, curves = [], []
        for (segment, places), keep in zip(chosen, keeps, strict=True):
            rows.append(segment.rows.filter(pa.array(keep)))
            table = segment.curves(CURVES.names)
            of = table.column("row").to_numpy()
            inside = keep[of]
            numbers = pa.array(row_of_place[places[of[inside]]], pa.int32())
            curves.append(table.filter(pa.array(inside)).drop_columns(["row"]).add_column(0, "row", numbers))
        if len(chosen) > 1:
            curves = [pa.concat_tables(curves).unify_dictionaries()]
            curves = [curves[0].take(np.argsort(curves[0].column("row").to_numpy(), kind="stable"))]
        rows = [pa.concat_tables(rows).take(order)]
        name = f"{time.time_ns():x}-{os.getpid()}"
        # readers look for the rows, so the rows come last
        for suffix, parts in (("curves", curves), ("trials", rows)):
            table = pa.concat_tables(parts).unify_dictionaries()
            if suffix == "trials":
                table = table.replace_schema_metadata(METADATA)
            partial = self.path / f"{name}.{suffix}.partial"
            try:
                pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
                partial.replace(self.path / f"{name}.{suffix}")
            except BaseException:
                with suppress(OSError):
                    partial.unlink()
                raise


def _texts(names: list[str]) -> pa.Array:
    """The names of folders. A name that is not text belongs to no trial, and gets a name that matches no row."""
    try:
        return pa.array(names, pa.string())
    except UnicodeEncodeError:
        return pa.array([name.encode(errors="replace").decode() for name in names], pa.string())


def _joined(
    results: BenchmarkResults,
    segments: list[Segment],
    places: list[np.ndarray[Any, Any]],
    unreadable: list[Unreadable],
    read: int,
) -> Stored:
    """The rows that count, in the trials' order."""
    columns = [*TRIALS.names, "json_ns"]
    parts = [
        rows if (place >= 0).all() else rows.filter(pa.array(place >= 0))
        for rows, place in zip((segment.rows.select(columns) for segment in segments), places, strict=True)
    ]
    table = pa.concat_tables(parts) if parts else ROWS.empty_table().select(columns)
    numbers = np.concatenate([place[place >= 0] for place in places]) if places else np.zeros(0, np.int32)
    trials = table.to_pandas()
    trials.index = pd.Index(numbers)
    if len(numbers) > 1 and not (np.diff(numbers) > 0).all():
        trials = trials.sort_index()
    return Stored(results, trials, unreadable, read, segments, places)
