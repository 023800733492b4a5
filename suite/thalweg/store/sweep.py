"""Clears up after processes that were killed while they trained."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import filelock

from thalweg import guard
from thalweg.failure import Failure
from thalweg.printed import LOG
from thalweg.signed import mark_or_none
from thalweg.store.curve import curve_table
from thalweg.store.documents import KILLED, TrialDocument
from thalweg.store.files import FolderFiles, copy
from thalweg.store.results import PARTIAL, WORKING, BenchmarkResults
from thalweg.store.trials import read_document
from thalweg.store.writing import CHECKPOINT, ResultsFolder


def sweep(results: ResultsFolder, reasons: Mapping[str, Failure] | None = None) -> list[TrialDocument]:
    """Record the trials that killed processes left as unfinished, and give their documents.

    A process holds a trial's lock while it trains, and the system drops the lock when the process dies. So a folder
    whose lock is free belongs to no process.

    Args:
        results: the results to clear up.
        reasons: by hash the failures of trials that ended their worker; such trials are failed and not unfinished, and
            no others are recorded, since other trials may have ended theirs too.
    """
    swept: list[TrialDocument] = []
    if not guard.is_folder(results.working) or not os.access(results.working, os.W_OK):
        return swept
    for path in _left(results):
        hash_ = path.name.removesuffix(".old")
        if reasons is not None and hash_ not in reasons:
            continue
        with free_lock(results.working / f"{hash_}.lock") as held:
            if held:
                swept += _sweep_one(results, path, hash_, (reasons or {}).get(hash_))
    return swept


def cut_off(results: BenchmarkResults) -> list[TrialDocument]:
    """The trials that ``sweep`` would record as unfinished; nothing is changed."""
    found = []
    for path in _left(results):
        lock = path.with_name(f"{path.name}.lock")
        if path.suffix != ".old" and not results.names_of(path.name) and not is_held(lock):
            started = _started(path)
            found += [started] if started is not None else []
    return found


class InTraining(NamedTuple):
    """A trial that a process trains now."""

    document: TrialDocument
    """The document that is recorded if the process is killed; its reason names the process."""
    since: float
    """When the training began, in seconds since the epoch."""


def in_training(results: BenchmarkResults) -> list[InTraining]:
    """The trials that processes train now, by the locks that they hold; nothing is changed.

    A process on another machine is seen where the file system shares locks.
    """
    found = []
    # a trial may end, and its folder go, at any moment
    with suppress(OSError):
        for path in _left(results):
            if path.suffix == ".old" or not is_held(path.with_name(f"{path.name}.lock")):
                continue
            started = _started(path)
            with suppress(OSError):
                if started is not None:
                    found.append(InTraining(started, (path / "started.json").stat().st_mtime))
    return found


def _left(results: BenchmarkResults) -> list[Path]:
    """Folders of trials that are being trained, or were until their process was killed."""
    working = results.path / WORKING
    if not guard.is_folder(working):
        return []
    # every trained trial has left a lock file
    with os.scandir(working) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [working / name for name in sorted(names) if guard.HASH.fullmatch(name.removesuffix(".old"))]


def _started(path: Path) -> TrialDocument | None:
    """The trial that was in training in a folder; None before its training began."""
    document = read_document(FolderFiles(path), "started.json")
    return document if isinstance(document, TrialDocument) and document.hash == path.name else None


def _sweep_one(results: ResultsFolder, path: Path, hash_: str, reason: Failure | None) -> list[TrialDocument]:
    there = results.names_of(hash_)
    if path.suffix == ".old":
        # killed between the two renames: the old result is the newest that is whole
        document = read_document(FolderFiles(path))
        if not there and isinstance(document, TrialDocument) and document.hash == hash_:
            path.rename(guard.room(results.trials) / document.folder)
        else:
            guard.remove_left(path)
        return []
    swept = []
    started = _started(path)
    if reason is not None and guard.is_folder(results.path / PARTIAL):
        # a training that died twice or took too long does not go on from its checkpoint; other users' stay
        for checkpoint in (results.path / PARTIAL).glob(f"{hash_}--{CHECKPOINT}*--{mark_or_none()}.*"):
            with suppress(OSError):
                guard.free(checkpoint)
    if started is not None and reason is not None:
        started = started.model_copy(update={"status": "failed", "error": reason, "reason": reason.line})
    old = results.working / f"{hash_}.old"
    if started is not None and not there and not old.exists():
        folder = guard.free(path / "killed")
        folder.mkdir()
        printed = FolderFiles(path / "result")
        if printed.has(LOG):
            copy(printed, LOG, folder)
        results.write(folder, started, curve_table([]), {}, {})
        swept.append(started)
    guard.remove_left(path)
    return swept


@contextmanager
def free_lock(path: Path) -> Iterator[bool]:
    """Hold a lock if it is free; false where another process holds it, or where it is no lock file."""
    lock = filelock.FileLock(path, blocking=False)
    try:
        lock.acquire()
    except (filelock.Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock, without taking the lock; true where the system cannot tell."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        with guard.open_regular(lock, guard.MB) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def killed(document: TrialDocument) -> TrialDocument:
    """The document to record of a trial whose process dies while training it."""
    where = f"process {os.getpid()} on {socket.gethostname()}"
    message = f"its process was interrupted, or ended in mid-trial ({where})"
    error = Failure(kind=KILLED, message=message)
    return document.model_copy(update={"status": "unfinished", "reason": message, "error": error})
