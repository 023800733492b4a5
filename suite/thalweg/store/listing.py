"""Lists a benchmark's trials with the times and sizes of their files, and opens none of the files.

A look at two files of each trial takes most of the time (3 us a file). In a folder of more than LARGE trials a look is
remembered for RECENT seconds, and used again while ``trials/`` has an equal time. That time changes when a trial comes,
goes or is trained again, and when a probe is added. It does not change when someone edits a file inside a trial's
folder. In a packed file all trials have the stamps of the whole file.
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
from thalweg.store.archive import RACY
from thalweg.store.packed import PackedFiles, stamps
from thalweg.store.results import BenchmarkResults

VERSION = b"3"
LARGE = 5000
"""Trials; in a folder of more trials a look is remembered."""
RECENT = 30.0
"""Seconds for which a look is remembered."""
SEEN = "seen"

INDICES = "results"
"""Folder of all indices in the user's cache."""
OF = "of"
"""File in an index that holds the path of the results."""

STAMPS = ("json_ns", "json_size", "curve_ns", "curve_size")
FOLDER_STAMPS = ("probes_ns", "weights_ns")
"""When a file last came into the folder of probes or weights, or went from there; 0 without such a folder."""
_FILES = ("trial.json", "curve.parquet")
_FOLDERS = ("probes", "weights")


@dataclass(frozen=True)
class Listing:
    """The names of the trials' folders, sorted, and the stamps of their files (trials, stamps)."""

    names: list[str]
    stamps: np.ndarray[Any, Any]

    @property
    def digest(self) -> str:
        """Equal where nothing has changed."""
        return hashlib.sha256("/".join(self.names).encode(errors="surrogateescape") + self.stamps.tobytes()).hexdigest()


def index_folder(results: BenchmarkResults) -> Path:
    """Where the index of these results lies: in the user's cache.

    An index beside the results could come from a stranger, and say something else than the trials.
    """
    place = os.path.realpath(results.path)
    return cache_folder() / INDICES / hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def make_index_folder(results: BenchmarkResults) -> Path:
    """Make the folder of the index where it is missing; its file ``of`` names the results.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = index_folder(results)
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / OF).write_bytes(os.fsencode(os.path.realpath(results.path)))
    return folder


def look(results: BenchmarkResults, again: bool = False) -> Listing:
    """List the trials now, without opening a file. With ``again`` no remembered look is used."""
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
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return nothing  # the folder has gone, or may not be read: ``results.refusal`` says so
    root = f"{results.trials}{os.sep}"
    if len(names) <= LARGE:
        return Listing(names, _without(links, _stamps(root, names)))
    # the system takes most of the time, and another thread can run meanwhile
    half = len(names) // 2
    with ThreadPoolExecutor(2) as threads:
        parts = list(threads.map(lambda part: _stamps(root, part), (names[:half], names[half:])))
    listing = Listing(names, _without(links, np.concatenate(parts)))
    _remember(results, changed, listing)
    return listing


def _seen(results: BenchmarkResults, changed: int) -> Listing | None:
    """The remembered look, where the trials' folder still has an equal time."""
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
        # a folder that changed just now may change again at an equal time
        if partial.stat().st_mtime_ns - changed > RACY:
            partial.replace(path)
    except (OSError, ValueError):
        pass  # the next reader looks for itself
    with suppress(OSError):
        partial.unlink(missing_ok=True)


def _stamps(root: str, names: Sequence[str]) -> np.ndarray[Any, Any]:
    found: list[int] = []
    # a link's own stamps: its target may have the times of a file that was read
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
    """The stamps, with zeros for links, which match no row of an index."""
    stamps[links] = 0
    return stamps


def folder_stamps(path: Path) -> list[int]:
    """FOLDER_STAMPS of a trial's folder."""
    found = []
    for name in _FOLDERS:
        try:
            found.append((path / name).lstat().st_mtime_ns)
        except OSError:
            found.append(0)
    return found


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file; reading verifies its checksums."""
    # not pq.read_table, which would guess a file system for the path
    return pq.ParquetFile(path, page_checksum_verification=True, **options)


def numbers_of(table: pa.Table, columns: Sequence[str]) -> np.ndarray[Any, Any]:
    """Columns of a table as the columns of an array."""
    return np.column_stack([table.column(name).to_numpy() for name in columns])
