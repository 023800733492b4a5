"""The results of one benchmark: a directory a trial, written elsewhere and renamed into place when complete."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pandas as pd
from pydantic import ValidationError

from thalweg.errors import UserError
from thalweg.failure import Failure
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
        for path in sorted(self.trials.iterdir()) if self.trials.is_dir() else []:
            if not path.name.rpartition("--")[2].startswith(begins):
                continue
            trial = read_trial(path)
            if isinstance(trial, StoredTrial):
                found.append(trial)
            else:
                unreadable.append(trial)
        return found, unreadable

    def find(self, hash_: str) -> StoredTrial | None:
        """The trial of that hash, if it is there and can be read."""
        for path in self.trials.glob(f"*--{hash_}"):
            trial = read_trial(path)
            if isinstance(trial, StoredTrial):
                return trial
        return None

    # writing

    @contextmanager
    def claim(self, document: TrialDocument) -> Iterator[Path]:
        """Hold a trial while it is trained, so that no other runner trains it too; gives a directory to write into.

        ``document`` is what to record if this process is killed. Waits while another process holds the trial.
        """
        with self.hold(document.hash):
            folder = self.working / document.hash
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "started.json").write_text(document.to_json(), encoding="utf-8")
            (folder / "result").mkdir()
            try:
                yield folder / "result"
            except Exception:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)

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
            if older and key not in probes and (older.path / name).is_file():
                (folder / "probes").mkdir(exist_ok=True)
                shutil.copyfile(older.path / name, folder / name)
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
        path.parent.mkdir(exist_ok=True)
        if table is not None:
            partial = self.working / f"{trial.document.hash}--{key}.parquet"
            write_table(table, partial, probe.request.model_dump(mode="json"))
            partial.replace(path)
        current = self.find(trial.document.hash)
        document = (current or trial).document
        document = document.model_copy(update={"probes": {**document.probes, key: probe}})
        document = document.model_copy(update={"files": digests(trial.path)})
        partial = self.working / f"{document.hash}.json"
        partial.write_text(document.to_json(), encoding="utf-8")
        partial.replace(trial.path / "trial.json")
        # for readers that looked at every trial a moment ago, and look no further than at the folder
        os.utime(self.trials)
        return path

    @contextmanager
    def hold(self, hash_: str) -> Iterator[None]:
        """Hold a trial that is there, so that nobody trains it or writes to it meanwhile."""
        self.working.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.working / f"{hash_}.lock"):
            yield

    def scratch(self, hash_: str, key: str) -> Path:
        """Where a long measurement may keep what it has."""
        return self.path / PARTIAL / f"{hash_}--{key}"

    def install(self, folder: Path, document: TrialDocument) -> Path:
        """Put a whole trial's folder in place of whatever that trial had; the caller holds it."""
        self.trials.mkdir(parents=True, exist_ok=True)
        trial = document.trial
        place = self.trials / f"{document.workload}--{trial.optimizer.name}--{document.hash}"
        for old in self.trials.glob(f"*--{document.hash}"):
            shutil.rmtree(self.working / f"{document.hash}.old", ignore_errors=True)
            old.rename(self.working / f"{document.hash}.old")
        folder.rename(place)
        shutil.rmtree(self.working / f"{document.hash}.old", ignore_errors=True)
        return place

    def write_benchmark(self, text: str) -> None:
        """Keep the benchmark's file beside its trials."""
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self.path / f".benchmark.toml.{os.getpid()}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.path / "benchmark.toml")

    # clearing up

    def sweep(self, reasons: Mapping[str, Failure] | None = None) -> list[TrialDocument]:
        """Turn what killed processes left into failed trials with that reason, or a better one; returns them.

        A process holds a lock while it trains, and the system drops the lock when the process dies: so a folder whose
        lock is free belongs to nobody.
        """
        swept: list[TrialDocument] = []
        if not self.working.is_dir() or not os.access(self.working, os.W_OK):
            return swept
        # a lock file is left of every trial that was ever trained
        with os.scandir(self.working) as entries:
            left = sorted(Path(entry.path) for entry in entries if not entry.name.endswith(".lock") and entry.is_dir())
        for path in left:
            name = path.name.removesuffix(".old")
            lock = filelock.FileLock(self.working / f"{name}.lock", blocking=False)
            try:
                with lock:
                    swept += self._sweep_one(path, name, (reasons or {}).get(name))
            except filelock.Timeout:
                continue
        return swept

    def _sweep_one(self, path: Path, hash_: str, reason: Failure | None) -> list[TrialDocument]:
        there = next(iter(self.trials.glob(f"*--{hash_}")), None)
        if path.suffix == ".old":
            # killed between the two renames: the old result is the newest that is whole
            document = _document(path)
            if there is None and isinstance(document, TrialDocument):
                self.trials.mkdir(parents=True, exist_ok=True)
                path.rename(self.trials / f"{document.workload}--{document.trial.optimizer.name}--{hash_}")
            else:
                shutil.rmtree(path, ignore_errors=True)
            return []
        swept = []
        try:
            started = TrialDocument.model_validate_json((path / "started.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            started = None  # killed before it had begun
        if reason is not None:
            # what killed it twice, or took too long, is not gone on with
            for checkpoint in (self.path / PARTIAL).glob(f"{hash_}--{CHECKPOINT}*"):
                checkpoint.unlink(missing_ok=True)
        if started is not None and reason is not None:
            started = started.model_copy(update={"error": reason, "reason": reason.line})
        old = self.working / f"{hash_}.old"
        if started is not None and there is None and not old.exists():
            folder = path / "killed"
            folder.mkdir(exist_ok=True)
            self.write(folder, started, curve_table([]), {}, {})
            swept.append(started)
        shutil.rmtree(path, ignore_errors=True)
        return swept


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a trial but its document, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "trial.json")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_trial(path: Path) -> StoredTrial | Unreadable:
    """The trial in a directory, or why there is none."""
    document = _document(path)
    if isinstance(document, Unreadable):
        return document
    if document.hash != document.trial.hash or not path.name.endswith(f"--{document.hash}"):
        return Unreadable(path, "trial.json: the hash is not that of the trial")
    missing = [name for name in document.files if not (path / name).is_file()]
    if missing:
        return Unreadable(path, f"{missing[0]} is missing")
    return StoredTrial(path, document)


def _document(path: Path) -> TrialDocument | Unreadable:
    try:
        return TrialDocument.model_validate_json((path / "trial.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return Unreadable(path, f"trial.json: {type(error).__name__}")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        return Unreadable(path, f"trial.json: {key + ': ' if key else ''}{first['msg']}")


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
    return sorted(path.name for path in root.iterdir() if (path / "trials").is_dir() or (path / WORKING).is_dir())


def require_benchmark(root: Path, name: str) -> BenchmarkResults:
    """The results of a benchmark; UserError naming those that there are."""
    there = benchmarks_in(root)
    if name not in there:
        raise UserError(f"no results of {name!r} in {root}; there are results of: {', '.join(there) or 'nothing yet'}")
    return BenchmarkResults(root, name)
