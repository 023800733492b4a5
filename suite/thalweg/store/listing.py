"""What is among a benchmark's trials now, by the times and sizes of their files: none of them is opened.

To look at two files of each trial takes most of the time (3 us a file). In a folder of more than LARGE trials, what was
seen less than RECENT seconds ago is taken as it was where ``trials/`` has the same time: that tells of every trial that
comes, goes or is trained again, and of every probe added, but not of what someone changes by hand inside a directory.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from thalweg import guard
from thalweg.own import cache_folder
from thalweg.store.packed import RACY, PackedFiles, stamps
from thalweg.store.results import BenchmarkResults

VERSION = b"1"
LARGE = 5000
"""In folders of more trials than this a look is remembered."""
RECENT = 30.0
"""Seconds for which it is."""
SEEN = "seen"

INDICES = "results"
"""Folder in the user's cache."""
OF = "of"

STAMPS = ("json_ns", "json_size", "curve_ns", "curve_size")
FOLDER_STAMPS = ("probes_ns", "weights_ns")
"""When a file came into a folder or went from it; 0 without one."""
_FILES = ("trial.json", "curve.parquet")
_FOLDERS = ("probes", "weights")


@dataclass(frozen=True)
class Listing:
    """The directories among the trials, sorted, and the stamps of their files (trials, stamps)."""

    names: list[str]
    stamps: np.ndarray[Any, Any]

    @property
    def digest(self) -> str:
        """Equal where nothing has changed."""
        return hashlib.sha256("/".join(self.names).encode(errors="surrogateescape") + self.stamps.tobytes()).hexdigest()


def index_folder(results: BenchmarkResults) -> Path:
    """Where what was read of these results is kept: among the user's own files.

    Beside the results it would be a stranger's word for what the trials say.
    """
    place = os.path.realpath(results.path)
    return cache_folder() / INDICES / hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def make_index_folder(results: BenchmarkResults) -> Path:
    """The same folder, made where it is not there; ``of`` in it says which results it is of.

    Raises:
        OSError: it cannot be made.
    """
    folder = index_folder(results)
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / OF).write_bytes(os.fsencode(os.path.realpath(results.path)))
    return folder


def look(results: BenchmarkResults, again: bool = False) -> Listing:
    """What is there now: no file of a trial is opened. With ``again`` every file is looked at."""
    nothing = Listing([], np.zeros((0, len(STAMPS)), np.int64))
    if results.refusal:
        return nothing
    if isinstance(results.files, PackedFiles):
        names = results.files.names("trials")
        return Listing(names, np.tile(np.array(stamps(results.files.archive), np.int64), (len(names), 1)))
    if not guard.is_folder(results.trials):
        return nothing
    try:
        changed = results.trials.stat().st_mtime_ns
        seen = None if again else _seen(results, changed)
        if seen is not None:
            return seen
        with os.scandir(results.trials) as entries:
            found = sorted((entry.name, entry.is_symlink()) for entry in entries)
        names = [name for name, _ in found]
        links = [number for number, (_, link) in enumerate(found) if link]
    except (FileNotFoundError, NotADirectoryError):
        return nothing
    root = f"{results.trials}{os.sep}"
    if len(names) <= LARGE:
        return Listing(names, _without(links, _stamps(root, names)))
    # most of it is the system's time, during which another thread can run
    half = len(names) // 2
    with ThreadPoolExecutor(2) as threads:
        parts = list(threads.map(lambda part: _stamps(root, part), (names[:half], names[half:])))
    listing = Listing(names, _without(links, np.concatenate(parts)))
    _remember(results, changed, listing)
    return listing


def _seen(results: BenchmarkResults, changed: int) -> Listing | None:
    """What was seen a moment ago, where the trials' folder still has that time."""
    path = index_folder(results) / SEEN
    try:
        if not -1 < time.time() - path.stat().st_mtime < RECENT:
            return None
        table = open_parquet(path).read()
        if table.schema.metadata[b"thalweg-seen"] != f"{VERSION.decode()} {changed}".encode():
            return None
        return Listing(table.column("name").to_numpy().tolist(), numbers_of(table, STAMPS))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(results: BenchmarkResults, changed: int, listing: Listing) -> None:
    stamps = {name: listing.stamps[:, number] for number, name in enumerate(STAMPS)}
    path = index_folder(results) / SEEN
    partial = path.with_name(f"{os.getpid()}-{time.time_ns():x}.partial")
    try:
        make_index_folder(results)
        table = pa.table({"name": pa.array(listing.names, pa.string()), **stamps})
        table = table.replace_schema_metadata({b"thalweg-seen": f"{VERSION.decode()} {changed}".encode()})
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
    # of a link itself: what was read was no link, and what it leads to may have the same times
    stat = os.lstat
    for name in names:
        for file in _FILES:
            try:
                seen = stat(f"{root}{name}/{file}")
            except OSError:
                found += (0, 0)
            else:
                found += (seen.st_mtime_ns, seen.st_size)
    return np.array(found, np.int64).reshape(len(names), len(STAMPS))


def _without(links: Sequence[int], stamps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The stamps, none for directories that are links: nothing that was read has such."""
    stamps[links] = 0
    return stamps


def folder_stamps(path: Path) -> list[int]:
    """FOLDER_STAMPS of a trial's directory."""
    found = []
    for name in _FOLDERS:
        try:
            found.append((path / name).lstat().st_mtime_ns)
        except OSError:
            found.append(0)
    return found


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """A file, with its checksums verified as it is read."""
    # opened here: pyarrow would guess a file system for it
    return pq.ParquetFile(path, page_checksum_verification=True, **options)


def numbers_of(table: pa.Table, columns: Sequence[str]) -> np.ndarray[Any, Any]:
    """Columns of a table as those of an array."""
    return np.column_stack([table.column(name).to_numpy() for name in columns])
