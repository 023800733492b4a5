"""Compacts a results folder: builds one index of all trials, and removes files that nothing needs any more."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from thalweg import guard
from thalweg.own import cache_folder
from thalweg.store.documents import ENDED
from thalweg.store.index import Index
from thalweg.store.listing import INDICES, OF
from thalweg.store.results import PARTIAL
from thalweg.store.sweep import free_lock, sweep
from thalweg.store.writing import CHECKPOINT, ResultsFolder


@dataclass
class Compacted:
    """The outcome of compacting one benchmark's results."""

    trials: int = 0
    """Trials in the index."""
    unreadable: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """By the names of the unreadable trials' folders, why they cannot be read."""
    swept: int = 0
    """Trials that killed runs left; they are recorded as failed."""
    locks: int = 0
    """Lock files that no process held, and that were removed."""
    scratch: int = 0
    """Removed files and folders: of measurements on trials that are gone, and of trainings that have ended."""
    freed: int = 0
    """Bytes of what was removed, without an older index of this benchmark in the cache."""
    index: int = 0
    """Bytes of the index."""


def compact(results: ResultsFolder) -> Compacted:
    """Build the index anew from every trial's files, and remove leftovers. Results stay unchanged.

    Raises:
        OSError: the folder cannot be written to.
    """
    done = Compacted()
    index = Index(results)
    done.swept = len(sweep(results))
    stored = index.rebuild()
    done.trials, done.unreadable = len(stored.trials), len(stored.unreadable)
    done.refused = {item.path.name: item.reason for item in stored.unreadable}
    done.index = _size(index.path)
    ended = stored.trials.loc[stored.trials["status"].isin(ENDED), "hash"]
    _scratch(results, {name.rpartition("--")[2] for name in stored.column("name")}, set(ended), done)
    _locks(results, done)
    _old_indices(results, done)
    return done


def _scratch(results: ResultsFolder, there: set[str], ended: set[str], done: Compacted) -> None:
    """Remove measurements on trials that are gone, and checkpoints of trials that have ended.

    A file or folder stays while a process holds its trial.
    """
    for path in _entries(results.path / PARTIAL):
        hash_, _, key = path.name.partition("--")
        if not guard.HASH.fullmatch(hash_):
            continue
        # the next run goes on from the checkpoint of a trial that was cut off
        if hash_ not in ended if key.startswith(CHECKPOINT) else hash_ in there:
            continue
        with free_lock(results.working / f"{hash_}.lock") as held:
            if held:
                size = _size(path)
                guard.free(path)
                done.scratch += 1
                done.freed += size


def _old_indices(results: ResultsFolder, done: Compacted) -> None:
    """Remove indices that older versions made beside the results, and cached indices of results that are gone."""
    old = [results.path / ".index"] if guard.is_folder(results.path / ".index") else []
    for folder in _entries(cache_folder() / INDICES):
        with suppress(OSError):
            if not os.path.exists((folder / OF).read_bytes()):  # noqa: PTH110 - of bytes
                old.append(folder)
    for folder in old:
        done.freed += _size(folder)
        guard.remove_left(folder)


def _locks(results: ResultsFolder, done: Compacted) -> None:
    """Unlink lock files while holding them.

    A process that waits for a lock may have opened its file already. When that process gets the lock, filelock sees
    that the file has lost its name, and begins anew with the file that has the name now.
    """
    for path in _entries(results.working):
        if path.suffix == ".lock":
            # Windows unlinks no open file
            with suppress(PermissionError), free_lock(path) as held:
                if held:
                    path.unlink(missing_ok=True)
                    done.locks += 1


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if guard.is_folder(folder) else []
    except OSError:
        return []


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where it is missing."""
    size, left = 0, [path]
    while left:
        place = left.pop()
        with suppress(OSError):
            if guard.is_folder(place):
                left += place.iterdir()
            else:
                size += place.lstat().st_size
    return size
