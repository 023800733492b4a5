"""The derived index of a benchmark's trials: 100,000 of them are listed and ranked without opening 200,000 files.

The directories are the truth. ``.index/`` holds segments: pairs of Parquet files with a row a trial
(``columns.TRIALS``) and the rows of their curves. Each row carries the times and sizes of the trial's files as they
were before it was read, and counts for as long as those are the same: so a segment is never wrong, only of no use any
more; every process adds its own; and the folder may be deleted at any time. What has no valid row is read from its
directory.

To look at two files of each trial takes most of the time (3 us a file). In a folder of more than LARGE trials, what was
seen less than RECENT seconds ago is taken as it was where ``trials/`` has the same time: that tells of every trial that
comes, goes or is trained again, and of every probe added, but not of what someone changes by hand inside a directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from thalweg.selection import DEVICES, Device
from thalweg.store.columns import CURVES, TEXT, TRIALS, row_of, trials_table
from thalweg.store.results import BenchmarkResults, StoredTrial, Unreadable, read_trial

FOLDER = ".index"
VERSION = b"1"
WORTH = 64
"""Fewer trials than this are read again sooner than they are worth a segment."""
SEGMENTS = 8
"""More of them than this become one."""
RACY = 2_000_000_000
"""A file changed so few nanoseconds ago may change again without a later time: its trial gets no row yet."""

LARGE = 5000
"""In folders of more trials than this a look is remembered."""
RECENT = 30.0
"""Seconds for which it is."""
SEEN = "seen"

_FILES = ("trial.json", "curve.parquet")
_FOLDERS = ("probes", "weights")
_STAMPS = ("json_ns", "json_size", "curve_ns", "curve_size")
_FOLDER_STAMPS = ("probes_ns", "weights_ns")
"""When a file came into a folder or went from it; 0 without one."""
_ROWS = pa.schema([*TRIALS, *(pa.field(name, pa.int64()) for name in (*_STAMPS, *_FOLDER_STAMPS))])
_METADATA = {b"thalweg-index": VERSION}
_CURVES = pa.schema([pa.field("row", pa.int32()), *CURVES])


Where = Mapping[str, Collection[str]]
"""The wanted values of ``split`` and ``metric``."""


@dataclass
class Segment:
    """Rows of trials, and of their curves by the number of the row; ``path`` where they are, if on disk."""

    rows: pa.Table
    path: Path | None = None
    parts: list[pa.Table] = field(default_factory=list)
    """The curves of a segment in memory."""

    @property
    def curves_path(self) -> Path | None:
        """Where the curves are."""
        return self.path and self.path.with_suffix(".curves")

    def curves(self, columns: Sequence[str], where: Where = MappingProxyType({})) -> pa.Table:
        """The curves' rows; OSError or ValueError where their file is damaged or gone."""
        columns = ["row", *columns]
        if self.curves_path is None:
            parts = [_where(part.select(columns), where) for part in self.parts]
        else:
            file = _parquet(self.curves_path, read_dictionary=[name for name in TEXT if name in columns])
            # part by part, since the rows that are wanted may be few
            parts = [_where(file.read_row_group(i, columns), where) for i in range(file.num_row_groups)]
        return pa.concat_tables([_with_codes(_CURVES.empty_table()).select(columns), *parts])


@dataclass
class Stored:
    """The trials of a benchmark in columns, sorted by directory name."""

    results: BenchmarkResults
    trials: pd.DataFrame
    """``columns.TRIALS`` and ``json_ns``, the document's time; the label is the trial's number."""
    unreadable: list[Unreadable]
    read: int = 0
    """How many trials were read from their directories."""
    _segments: list[Segment] = field(default_factory=list)
    _places: list[np.ndarray[Any, Any]] = field(default_factory=list)
    """For each segment the trial's number by the segment's row, -1 where the row does not count."""

    def curves(
        self,
        columns: Sequence[str] = tuple(CURVES.names),
        chosen: pd.Index | None = None,
        where: Where = MappingProxyType({}),
    ) -> pd.DataFrame:
        """The curves' rows of the chosen trials (all), in the trials' order, with the trial's number as ``trial``."""
        wanted = np.zeros(1 + max((int(places.max(initial=0)) for places in self._places), default=0), dtype=bool)
        wanted[(self.trials.index if chosen is None else chosen).to_numpy()] = True
        parts = []
        for segment, places in zip(self._segments, self._places, strict=True):
            keep = (places >= 0) & wanted[places]
            if not keep.any():
                continue
            try:
                table = segment.curves(columns, where)
            except (OSError, ValueError):
                # damaged, or made one with others by another process
                if segment.path is not None:
                    with suppress(OSError):
                        segment.path.unlink()
                segment, places = self._read_again(places[keep])
                keep, table = places >= 0, segment.curves(columns, where)
            rows = table.column("row").to_numpy()
            if not keep.all():
                inside = keep[rows]
                table, rows = table.filter(pa.array(inside)), rows[inside]
            parts.append(table.drop_columns(["row"]).append_column("trial", pa.array(places[rows])))
        if not parts:
            empty = _with_codes(_CURVES.empty_table()).select(list(columns))
            parts = [empty.append_column("trial", pa.array([], pa.int32()))]
        table = pa.concat_tables(parts).unify_dictionaries()
        frame: pd.DataFrame = table.to_pandas()
        # those of one segment are in order
        if not frame["trial"].is_monotonic_increasing:
            frame = frame.sort_values("trial", kind="stable", ignore_index=True)
        return frame

    def column(self, name: str) -> list[Any]:
        """The values of a column of ``trials``."""
        return self.trials[name].to_numpy(dtype=object).tolist()

    def only(self, mask: pd.Series) -> Stored:
        """Those trials alone; they keep their numbers."""
        return replace(self, trials=self.trials[mask])

    def path(self, number: int) -> Path:
        """The directory of a trial."""
        return self.results.trials / str(self.trials.loc[number, "name"])

    @property
    def files(self) -> dict[str, str]:
        """The user's files that the trials were made from: path to digest, the latest trial's where it has changed."""
        aged = self.trials[self.trials["files"] != ""].sort_values("json_ns")["files"]
        return {path: digest for files in aged for path, digest in json.loads(files).items()}

    @property
    def devices(self) -> list[Device]:
        """The kinds of device that the trials ran on; where there are none, the first of all kinds."""
        there = set(self.trials["device"].unique())
        return [device for device in DEVICES if device in there] or [DEVICES[0]]

    @property
    def by_hash(self) -> Documents:
        """The trials by their hashes, read one by one as they are looked up."""
        return Documents(self)

    def _read_again(self, numbers: np.ndarray[Any, Any]) -> tuple[Segment, np.ndarray[Any, Any]]:
        names = self.trials["name"].reindex(numbers)
        there = names.notna().to_numpy()
        found, _ = _read(self.results, names[there].tolist(), np.zeros((int(there.sum()), len(_STAMPS)), np.int64))
        number_of = dict(zip(names, numbers, strict=True))
        return found, np.array([number_of[name] for name in found.rows.column("name").to_pylist()], np.int32)


class Documents(Mapping[str, StoredTrial]):
    """Trials by hash, each read from its directory when it is asked for."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._numbers: dict[str, int] = dict(zip(stored.column("hash"), stored.trials.index.tolist(), strict=True))

    def __getitem__(self, hash_: str) -> StoredTrial:
        trial: StoredTrial | Unreadable = read_trial(self.path(hash_))
        if isinstance(trial, Unreadable):
            raise KeyError(hash_)
        return trial

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def probes(self) -> pd.DataFrame:
        """By hash, for the trials that have any, the keys of the probes that are done and of those that failed."""
        trials = self._stored.trials
        some = trials[(trials["probes_done"] != "") | (trials["probes_failed"] != "")]
        return some.drop_duplicates("hash", keep="last").set_index("hash")[["probes_done", "probes_failed"]]

    def path(self, hash_: str) -> Path:
        """The directory of a trial."""
        return self._stored.path(self._numbers[hash_])


@dataclass(frozen=True)
class Listing:
    """The directories among the trials, sorted, and the stamps of their files (trials, stamps)."""

    names: list[str]
    stamps: np.ndarray[Any, Any]

    @property
    def digest(self) -> str:
        """Equal where nothing has changed."""
        return hashlib.sha256("/".join(self.names).encode(errors="surrogateescape") + self.stamps.tobytes()).hexdigest()


def look(results: BenchmarkResults, again: bool = False) -> Listing:
    """What is there now: no file of a trial is opened. With ``again`` every file is looked at."""
    try:
        changed = results.trials.stat().st_mtime_ns
        seen = None if again else _seen(results, changed)
        if seen is not None:
            return seen
        with os.scandir(results.trials) as entries:
            names = sorted(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return Listing([], np.zeros((0, len(_STAMPS)), np.int64))
    root = f"{results.trials}{os.sep}"
    if len(names) <= LARGE:
        return Listing(names, _stamps(root, names))
    # most of it is the system's time, during which another thread can run
    half = len(names) // 2
    with ThreadPoolExecutor(2) as threads:
        parts = list(threads.map(lambda part: _stamps(root, part), (names[:half], names[half:])))
    listing = Listing(names, np.concatenate(parts))
    _remember(results, changed, listing)
    return listing


def _seen(results: BenchmarkResults, changed: int) -> Listing | None:
    """What was seen a moment ago, where the trials' folder still has that time."""
    path = results.path / FOLDER / SEEN
    try:
        if not -1 < time.time() - path.stat().st_mtime < RECENT:
            return None
        table = _parquet(path).read()
        if table.schema.metadata[b"thalweg-seen"] != f"{VERSION.decode()} {changed}".encode():
            return None
        return Listing(table.column("name").to_numpy().tolist(), _numbers(table, _STAMPS))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(results: BenchmarkResults, changed: int, listing: Listing) -> None:
    path = results.path / FOLDER / SEEN
    partial = path.with_name(f"{os.getpid()}-{time.time_ns():x}.partial")
    stamps = {name: listing.stamps[:, number] for number, name in enumerate(_STAMPS)}
    try:
        table = pa.table({"name": pa.array(listing.names, pa.string()), **stamps})
        table = table.replace_schema_metadata({b"thalweg-seen": f"{VERSION.decode()} {changed}".encode()})
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, partial, compression="lz4", use_dictionary=False, write_page_checksum=True)
        # a folder that was changed just now may change again without a later time
        if partial.stat().st_mtime_ns - changed > RACY:
            partial.replace(path)
    except (OSError, ValueError):
        pass  # the next reader looks again
    with suppress(OSError):
        partial.unlink(missing_ok=True)


def _stamps(root: str, names: Sequence[str]) -> np.ndarray[Any, Any]:
    found: list[int] = []
    stat = os.stat
    for name in names:
        for file in _FILES:
            try:
                seen = stat(f"{root}{name}/{file}")
            except OSError:
                found += (0, 0)
            else:
                found += (seen.st_mtime_ns, seen.st_size)
    return np.array(found, np.int64).reshape(len(names), len(_STAMPS))


def _folder_stamps(path: Path) -> list[int]:
    found = []
    for name in _FOLDERS:
        try:
            found.append((path / name).stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return found


def read_stored(results: BenchmarkResults, listing: Listing | None = None) -> Stored:
    """The trials on disk, from the index where that is right; what is new there is added to it."""
    return Index(results).read(listing)


class Index:
    """Reads and writes the segments of one benchmark."""

    def __init__(self, results: BenchmarkResults) -> None:
        self.results = results
        self.path = results.path / FOLDER

    def rebuild(self) -> Stored:
        """Read every trial's files and make one segment of them, in place of all that is there.

        Raises:
            OSError: it cannot be written.
        """
        if self.path.is_dir():
            # what another process puts there meanwhile may stay
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        return self.read(look(self.results, again=True), worth=1)

    def read(self, listing: Listing | None = None, worth: int | None = None) -> Stored:
        """All trials: rows of segments that still count, and for the others rows read from their directories.

        These are written where there are as many as it is ``worth`` (WORTH).
        """
        worth = WORTH if worth is None else worth
        listing = listing or look(self.results)
        segments = [segment for path in self._files() if (segment := _open(path))]
        # a name that is no text is no trial's, and matches no row
        names = pa.array([name.encode(errors="replace").decode() for name in listing.names], pa.string())
        left = np.ones(len(names), dtype=bool)
        places = []
        for segment in segments:
            places.append(_match(segment, self.results, listing, names, left))
            left[places[-1][places[-1] >= 0]] = False
        missing = np.flatnonzero(left)
        unreadable: list[Unreadable] = []
        if len(missing):
            now = self._now() if len(missing) >= worth else 0
            fresh, unreadable = _read(self.results, [listing.names[i] for i in missing], listing.stamps[missing])
            segments.append(fresh)
            places.append(_match(fresh, self.results, listing, names, left))
            if now:
                self._keep(segments, places, now)
        return _joined(self.results, segments, places, unreadable, len(missing))

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if path.suffix == ".trials")
        except OSError:
            return []

    def _now(self) -> int:
        """The time on the file system's clock; 0 where it cannot be written to."""
        probe = self.path / f"{os.getpid()}-{time.time_ns():x}.partial"
        try:
            self.path.mkdir(exist_ok=True)
            probe.touch()
            now = probe.stat().st_mtime_ns
            probe.unlink()
        except OSError:
            return 0
        return now

    def _keep(self, segments: list[Segment], places: list[np.ndarray[Any, Any]], now: int) -> None:
        """Write the last segment, which was just read; where there are too many or most is out of date, all as one."""
        rows = sum(segment.rows.num_rows for segment in segments)
        live = sum(int((place >= 0).sum()) for place in places)
        on_disk = segments[:-1]
        whole = len(on_disk) >= SEGMENTS or rows > 2 * live
        chosen = list(zip(segments, places, strict=True)) if whole else [(segments[-1], places[-1])]
        try:
            self._write(chosen, now)
        except (OSError, ValueError):
            return  # a full disk, or a damaged segment: the next one tries again
        if whole:
            for segment in on_disk:
                _unlink(segment)

    def _write(self, chosen: list[tuple[Segment, np.ndarray[Any, Any]]], now: int) -> None:
        """Write the rows that count and that nothing can change unseen, in the trials' order."""
        keeps = []
        for segment, places in chosen:
            changed = _numbers(segment.rows, ("json_ns", "curve_ns", *_FOLDER_STAMPS)).max(axis=1, initial=0)
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
        # a segment is there when its rows are
        for suffix, parts in (("curves", curves), ("trials", rows)):
            table = pa.concat_tables(parts).unify_dictionaries()
            if suffix == "trials":
                table = table.replace_schema_metadata(_METADATA)
            partial = self.path / f"{name}.{suffix}.partial"
            try:
                pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
                partial.replace(self.path / f"{name}.{suffix}")
            except BaseException:
                with suppress(OSError):
                    partial.unlink()
                raise


def _unlink(segment: Segment) -> None:
    for path in (segment.path, segment.curves_path):
        with suppress(OSError):
            if path is not None:
                path.unlink()


def _parquet(path: Path, **options: Any) -> pq.ParquetFile:
    # opened here: pyarrow would guess a file system for it
    return pq.ParquetFile(path, page_checksum_verification=True, **options)


def _open(path: Path) -> Segment | None:
    """A segment of this version of thalweg; None for anything else."""
    try:
        table = _parquet(path).read()
    except (OSError, ValueError):
        return None
    if (table.schema.metadata or {}).get(b"thalweg-index") != VERSION or not table.schema.equals(_ROWS):
        return None
    return Segment(table, path)


def _match(
    segment: Segment, results: BenchmarkResults, listing: Listing, names: pa.Array, left: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """For each row of a segment the number of its trial; -1 where its files are others now, or it has a row already."""
    there = segment.rows.column("name")
    numbers = pc.index_in(there, value_set=names).fill_null(-1).to_numpy().astype(np.int32)
    counts = (numbers >= 0) & left[numbers] if len(names) else np.zeros(len(numbers), dtype=bool)
    recorded = _numbers(segment.rows, _STAMPS)
    counts[counts] = (recorded[counts] == listing.stamps[numbers[counts]]).all(axis=1)
    recorded = _numbers(segment.rows, _FOLDER_STAMPS)
    for row in np.flatnonzero(counts & recorded.any(axis=1)):
        counts[row] = _folder_stamps(results.trials / listing.names[numbers[row]]) == recorded[row].tolist()
    return np.where(counts, numbers, np.int32(-1))


def _numbers(table: pa.Table, columns: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.column_stack([table.column(name).to_numpy() for name in columns])


def _read(
    results: BenchmarkResults, names: Sequence[str], stamps: np.ndarray[Any, Any]
) -> tuple[Segment, list[Unreadable]]:
    """Read trials from their directories; their stamps were taken before."""
    segment, unreadable = Segment(_ROWS.empty_table()), []
    rows: list[dict[str, Any]] = []
    tables: list[pa.Table] = []
    curves: list[pa.Table] = []
    count = 0

    def pack() -> None:
        # small tables by the thousand take more memory than what is in them
        if rows:
            tables.append(trials_table(rows, _ROWS))
            segment.parts.append(_with_codes(pa.concat_tables(curves).combine_chunks()))
            rows.clear()
            curves.clear()

    for name, stamp in zip(names, stamps.tolist(), strict=True):
        folders = _folder_stamps(results.trials / name)
        trial = read_trial(results.trials / name)
        if isinstance(trial, Unreadable):
            unreadable.append(trial)
            continue
        row, curve = row_of(trial)
        rows.append(row | dict(zip((*_STAMPS, *_FOLDER_STAMPS), (*stamp, *folders), strict=True)))
        curves.append(curve.add_column(0, _CURVES.field(0), pa.array(np.full(curve.num_rows, count, np.int32))))
        count += 1
        if len(rows) == 2000:
            pack()
    pack()
    if tables:
        segment.rows = pa.concat_tables(tables).combine_chunks()
    return segment, unreadable


def _where(curves: pa.Table, where: Where) -> pa.Table:
    """The rows that have one of the wanted values in each of the columns."""
    for name, wanted in where.items():
        column = curves.column(name).combine_chunks()
        good = np.isin(column.dictionary.to_numpy(zero_copy_only=False).astype(str), sorted(wanted))
        curves = curves.filter(pa.array(good[column.indices.to_numpy()]))
    return curves


def _with_codes(curves: pa.Table) -> pa.Table:
    for name in TEXT:
        number = curves.column_names.index(name)
        curves = curves.set_column(number, name, curves.column(name).dictionary_encode())
    return curves


def _joined(
    results: BenchmarkResults,
    segments: list[Segment],
    places: list[np.ndarray[Any, Any]],
    unreadable: list[Unreadable],
    read: int,
) -> Stored:
    """The rows that count, in order."""
    columns = [*TRIALS.names, "json_ns"]
    parts = [
        segment.rows.select(columns).filter(pa.array(place >= 0))
        for segment, place in zip(segments, places, strict=True)
    ]
    table = pa.concat_tables(parts) if parts else _ROWS.empty_table().select(columns)
    numbers = np.concatenate([place[place >= 0] for place in places]) if places else np.zeros(0, np.int32)
    trials = table.to_pandas()
    trials.index = pd.Index(numbers)
    if len(numbers) > 1 and not (np.diff(numbers) > 0).all():
        trials = trials.sort_index()
    return Stored(results, trials, unreadable, read, segments, places)
