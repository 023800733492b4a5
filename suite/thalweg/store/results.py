"""The results of one benchmark: a directory a trial, written elsewhere and renamed into place when complete."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pandas as pd
from pydantic import ValidationError

from thalweg import guard
from thalweg.benchmark_file import NAME, NAMING
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.shown import brief
from thalweg.signed import mark_or_none
from thalweg.store.curve import curve_table, with_all_columns
from thalweg.store.documents import ProbeDocument, TrialDocument
from thalweg.store.tables import read_table, write_table
from thalweg.store.weights import write_weights

if TYPE_CHECKING:
    from torch import Tensor

WORKING = ".working"
PARTIAL = ".partial"
CHECKPOINT = "training"
"""Beginning of the keys of checkpoints among what is in PARTIAL."""


@dataclass(frozen=True)
class StoredTrial:
    """A trial on disk."""

    path: Path
    document: TrialDocument

    def curve(self) -> pd.DataFrame:
        """One row per evaluation, split and metric."""
        return with_all_columns(read_table(self.path / "curve.parquet"))

    def table(self, key: str) -> pd.DataFrame:
        """The table of a probe, by its key ``<probe>--<hash8>``."""
        return read_table(self.path / "probes" / f"{key}.parquet")


@dataclass(frozen=True)
class Unreadable:
    """A directory among the trials that cannot be read as one."""

    path: Path
    reason: str


class BenchmarkResults:
    """``<results>/<benchmark>/``: reads what is there, adds trials atomically, clears up after killed runs."""

    def __init__(self, root: Path, benchmark: str) -> None:
        self.path = root / benchmark
        self.trials = self.path / "trials"
        self.working = self.path / WORKING

    # reading

    def scan(self, begins: str = "") -> tuple[list[StoredTrial], list[Unreadable]]:
        """Every trial whose hash begins so, sorted by directory name, and what could not be read."""
        found: list[StoredTrial] = []
        unreadable: list[Unreadable] = []
        for path in sorted(self.trials.iterdir()) if guard.is_folder(self.trials) else []:
            if begins and not path.name.rpartition("--")[2].startswith(begins):
                continue
            trial = read_trial(path)
            if isinstance(trial, StoredTrial):
                found.append(trial)
            else:
                unreadable.append(trial)
        return found, unreadable

    def find(self, hash_: str) -> StoredTrial | None:
        """The trial of that hash, if it is there and can be read."""
        for path in self._of(hash_):
            trial = read_trial(path)
            if isinstance(trial, StoredTrial):
                return trial
        return None

    def _of(self, hash_: str) -> list[Path]:
        """What is there under the names of that trial."""
        return list(self.trials.glob(f"*--{hash_}")) if guard.is_folder(self.trials) else []

    # writing

    @contextmanager
    def claim(self, document: TrialDocument) -> Iterator[Path]:
        """Hold a trial while it is trained, so that no other runner trains it too; gives a directory to write into.

        ``document`` is what to record if this process is killed. Waits while another process holds the trial.
        """
        with self.hold(document.hash):
            folder = guard.free(self.working / document.hash)
            folder.mkdir()
            (folder / "started.json").write_text(document.to_json(), encoding="utf-8")
            (folder / "result").mkdir()
            try:
                yield folder / "result"
            except Exception:
                guard.remove_left(folder)
                raise
            guard.remove_left(folder)

    def write(
        self,
        folder: Path,
        document: TrialDocument,
        curve: pd.DataFrame,
        tables: Mapping[str, pd.DataFrame],
        weights: Mapping[str, Mapping[str, Tensor]],
        older: StoredTrial | None = None,
    ) -> Path:
        """Write a trial's files into ``folder``, then put it in place of whatever this trial had before.

        Tables that the ``older`` result has and the new one does not ask for are kept as they are: they were measured
        on the same training.
        """
        write_table(curve, folder / "curve.parquet")
        for key, table in tables.items():
            write_table(
                table, folder / "probes" / f"{key}.parquet", document.probes[key].request.model_dump(mode="json")
            )
        write_weights(weights, folder)
        probes = dict(document.probes)
        for key, probe in older.document.probes.items() if older else ():
            name = f"probes/{key}.parquet"
            if older and key not in probes and guard.is_regular(older.path / name):
                (folder / "probes").mkdir(exist_ok=True)
                guard.copy(older.path, name, folder)
                probes[key] = probe
        document = document.model_copy(update={"probes": probes, "files": digests(folder)})
        (folder / "trial.json").write_text(document.to_json(), encoding="utf-8")
        return self.install(folder, document)

    def add_probe(self, trial: StoredTrial, probe: ProbeDocument, table: pd.DataFrame | None) -> Path:
        """Put a probe's table, or why there is none, beside what a trial has; gives the table's path.

        The caller holds the trial (see ``hold``).
        """
        key = probe.request.key
        path = trial.path / "probes" / f"{key}.parquet"
        guard.room(path.parent)
        if table is not None:
            partial = self.working / f"{trial.document.hash}--{key}.parquet"
            write_table(table, partial, probe.request.model_dump(mode="json"))
            partial.replace(path)
        current = self.find(trial.document.hash)
        document = (current or trial).document
        document = document.model_copy(update={"probes": {**document.probes, key: probe}})
        document = document.model_copy(update={"files": digests(trial.path)})
        guard.write_text(document.to_json(), trial.path / "trial.json", self.working / f"{document.hash}.json")
        # for readers that looked at every trial a moment ago, and look no further than at the folder
        os.utime(self.trials)
        return path

    @contextmanager
    def hold(self, hash_: str) -> Iterator[None]:
        """Hold a trial that is there, so that nobody trains it or writes to it meanwhile."""
        guard.room(self.path)
        with filelock.FileLock(guard.room(self.working) / f"{hash_}.lock"):
            yield

    def scratch(self, hash_: str, key: str) -> Path:
        """Where a long measurement may keep what it has."""
        return self.path / PARTIAL / f"{hash_}--{key}"

    def install(self, folder: Path, document: TrialDocument) -> Path:
        """Put a whole trial's folder in place of whatever that trial had; the caller holds it."""
        place = guard.room(self.trials) / document.folder
        away = self.working / f"{document.hash}.old"
        for old in self._of(document.hash):
            guard.free(away)
            old.rename(away)
        folder.rename(place)
        with suppress(OSError):
            guard.free(away)
        return place

    @property
    def refusal(self) -> str:
        """Why nothing of these results is read; empty where they are, and where there are none."""
        return _refusal(self.path) if os.path.lexists(self.path) else ""

    def write_benchmark(self, text: str) -> None:
        """Keep the benchmark's file beside its trials."""
        path = guard.room(self.path) / "benchmark.toml"
        guard.write_text(text, path, self.path / f".benchmark.toml.{os.getpid()}")

    # clearing up

    def sweep(self, reasons: Mapping[str, Failure] | None = None) -> list[TrialDocument]:
        """Turn what killed processes left into failed trials with that reason, or a better one; returns them.

        A process holds a lock while it trains, and the system drops the lock when the process dies: so a folder whose
        lock is free belongs to nobody.
        """
        swept: list[TrialDocument] = []
        if not guard.is_folder(self.working) or not os.access(self.working, os.W_OK):
            return swept
        for path in self._left():
            hash_ = path.name.removesuffix(".old")
            with free_lock(self.working / f"{hash_}.lock") as held:
                if held:
                    swept += self._sweep_one(path, hash_, (reasons or {}).get(hash_))
        return swept

    def cut_off(self) -> list[TrialDocument]:
        """What ``sweep`` would record as failed; nothing is changed."""
        found = []
        for path in self._left():
            if path.suffix != ".old" and not self._of(path.name) and not _is_held(self.working / f"{path.name}.lock"):
                started = self._started(path)
                found += [started] if started is not None else []
        return found

    def _left(self) -> list[Path]:
        """Folders of trials that are being trained, or were until their process was killed."""
        if not guard.is_folder(self.working):
            return []
        # a lock file is left of every trial that was ever trained
        with os.scandir(self.working) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [self.working / name for name in sorted(names) if guard.HASH.fullmatch(name.removesuffix(".old"))]

    def _started(self, path: Path) -> TrialDocument | None:
        """What was being trained in a folder; None where it had not begun."""
        document = _document(path, "started.json")
        return document if isinstance(document, TrialDocument) and document.hash == path.name else None

    def _sweep_one(self, path: Path, hash_: str, reason: Failure | None) -> list[TrialDocument]:
        there = self._of(hash_)
        if path.suffix == ".old":
            # killed between the two renames: the old result is the newest that is whole
            document = _document(path)
            if not there and isinstance(document, TrialDocument) and document.hash == hash_:
                path.rename(guard.room(self.trials) / document.folder)
            else:
                guard.remove_left(path)
            return []
        swept = []
        started = self._started(path)
        if reason is not None and guard.is_folder(self.path / PARTIAL):
            # what killed it twice, or took too long, is not gone on with; other users' are theirs
            for checkpoint in (self.path / PARTIAL).glob(f"{hash_}--{CHECKPOINT}*--{mark_or_none()}.*"):
                with suppress(OSError):
                    guard.free(checkpoint)
        if started is not None and reason is not None:
            started = started.model_copy(update={"error": reason, "reason": reason.line})
        old = self.working / f"{hash_}.old"
        if started is not None and not there and not old.exists():
            folder = guard.free(path / "killed")
            folder.mkdir()
            self.write(folder, started, curve_table([]), {}, {})
            swept.append(started)
        guard.remove_left(path)
        return swept


@contextmanager
def free_lock(path: Path) -> Iterator[bool]:
    """Hold a lock that nobody holds; false where somebody does, or where something else has its name."""
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


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock, without taking it; true where the system has no way to tell."""
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


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every regular file of a trial but its document, by path."""
    names = [name for name, regular in guard.files_in(folder) if regular and name != "trial.json"]
    return {name: digest_of(folder, name) for name in names}


def digest_of(folder: Path, name: str) -> str:
    """SHA-256 of a file of a trial, which is no larger than such a file may be."""
    with guard.open_inside(folder, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_trial(path: Path) -> StoredTrial | Unreadable:
    """The trial in a directory, or why there is none."""
    document = _document(path)
    if isinstance(document, Unreadable):
        return document
    if document.hash != document.trial.hash:
        return Unreadable(path, "trial.json: the hash is not that of the trial")
    if path.name != document.folder:
        return Unreadable(path, f"trial.json: is that of {document.folder}")
    for name in document.files:
        try:
            guard.check_inside(path, name)
        except FileNotFoundError:
            return Unreadable(path, f"{name} is missing")
        except OSError as error:
            return Unreadable(path, f"{name} {error.strerror}")
    return StoredTrial(path, document)


def _document(path: Path, name: str = "trial.json") -> TrialDocument | Unreadable:
    try:
        if not guard.is_folder(path):
            return Unreadable(path, guard.kind_at(path))
        return TrialDocument.model_validate_json(guard.read_bytes(path / name, guard.DOCUMENT))
    except guard.Refused as error:
        return Unreadable(path, f"{name} {error.reason}")
    except OSError as error:
        return Unreadable(path, f"{name}: {error.strerror or error}")
    except RecursionError:
        return Unreadable(path, f"{name}: is too deep")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        says = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":  # a pattern is for machines
            says = f"{brief(first['input'])} is no name that is allowed here"
        return Unreadable(path, f"{name}: {key.removesuffix('.[key]') + ': ' if key else ''}{says}")


def killed(document: TrialDocument) -> TrialDocument:
    """What to record of a trial whose process dies while training it."""
    message = f"the process that trained it ended in mid-trial (process {os.getpid()} on {socket.gethostname()})"
    error = Failure(kind="Killed", message=message)
    return document.model_copy(update={"status": "failed", "reason": f"Killed: {message}", "error": error})


def results_root(given: Path | None) -> Path:
    """``--results``, else ``$THALWEG_RESULTS``, else ``./results/local``."""
    return given or Path(os.environ.get("THALWEG_RESULTS") or Path("results") / "local")


def benchmarks_in(root: Path) -> list[str]:
    """The benchmarks that have results under a root, sorted."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if _has_results(path) and not _refusal(path))


def refused_in(root: Path) -> list[Unreadable]:
    """What looks like the results of a benchmark and is not read, sorted, and why."""
    if not root.is_dir():
        return []
    there = [Unreadable(path, _refusal(path)) for path in sorted(root.iterdir()) if _has_results(path)]
    return [item for item in there if item.reason]


def _has_results(path: Path) -> bool:
    with suppress(OSError):
        return any(os.path.lexists(path / name) for name in ("trials", WORKING))
    return False


def _refusal(path: Path) -> str:
    if not guard.is_folder(path):
        way = ", and none is followed inside of results: the results folder itself may be one"
        return guard.kind_at(path) + (way if path.is_symlink() else "")
    if not NAME.fullmatch(path.name):
        return f"the name {NAMING}"
    links = [name for name in ("trials", WORKING) if os.path.lexists(path / name) and not guard.is_folder(path / name)]
    return f"{links[0]} {guard.kind_at(path / links[0])}" if links else ""


def require_benchmark(root: Path, name: str) -> BenchmarkResults:
    """The results of a benchmark; UserError naming those that there are, or why they are not read."""
    there = benchmarks_in(root)
    if name not in there:
        for item in refused_in(root):
            if item.path.name == name:
                raise UserError(f"{item.path}: {item.reason}: it is not read")
        raise UserError(f"no results of {name!r} in {root}; there are results of: {', '.join(there) or 'nothing yet'}")
    return BenchmarkResults(root, name)
