"""Writes the results of one benchmark: each trial's folder is made elsewhere and renamed into place when complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pandas as pd

from thalweg import guard
from thalweg.errors import UserError
from thalweg.store.documents import ProbeDocument, TrialDocument
from thalweg.store.files import FolderFiles, copy, digest_of
from thalweg.store.packed_format import is_packed
from thalweg.store.results import PARTIAL, WORKING, BenchmarkResults
from thalweg.store.tables import write_table
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import write_weights

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT = "training"
"""Keys of checkpoints in PARTIAL begin so; other keys belong to measurements."""


class ResultsFolder(BenchmarkResults):
    """``<root>/<benchmark>/``: reads results and writes them, each trial whole or not at all.

    Raises:
        UserError: the results are packed, or the root is a packed file.
    """

    def __init__(self, root: Path, benchmark: str) -> None:
        super().__init__(root, benchmark)
        if self.packed or is_packed(root):
            packed = self.path if self.packed else root
            way = f"'thalweg results unpack {packed}' makes a folder of them"
            raise UserError(f"{packed}: packed results are only read: {way}")
        self.working = self.path / WORKING

    @contextmanager
    def claim(self, document: TrialDocument) -> Iterator[Path]:
        """Hold a trial while it is trained, so that no other runner trains it too; gives a folder to write into.

        If this process is killed, the next sweep records ``document``. Waits while another process holds the trial.
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
        """Write a trial's files into ``folder``, then put the folder in place of whatever this trial had before.

        Tables of probes that only the ``older`` result has are kept, see ``seal``.
        """
        write_table(curve, folder / "curve.parquet")
        for key, table in tables.items():
            write_table(
                table, folder / "probes" / f"{key}.parquet", document.probes[key].request.model_dump(mode="json")
            )
        write_weights(weights, folder)
        return self.install(folder, seal(folder, document, older))

    def add_probe(self, trial: StoredTrial, probe: ProbeDocument, table: pd.DataFrame | None) -> Path:
        """Add a probe's table to a trial, or the reason why the probe has no table; gives the table's path.

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
        # readers that looked at every trial a moment ago look only at the time of this folder
        os.utime(self.trials)
        return path

    @contextmanager
    def hold(self, hash_: str) -> Iterator[None]:
        """Hold a trial, so that no other process trains it or writes to it meanwhile."""
        guard.room(self.path)
        with filelock.FileLock(guard.room(self.working) / f"{hash_}.lock"):
            yield

    def scratch(self, hash_: str, key: str) -> Path:
        """Where a long measurement may keep its unfinished work."""
        return self.path / PARTIAL / f"{hash_}--{key}"

    def install(self, folder: Path, document: TrialDocument) -> Path:
        """Put a whole trial's folder in place of whatever that trial had; the caller holds it."""
        place = guard.room(self.trials) / document.folder
        away = self.working / f"{document.hash}.old"
        for old in self.names_of(document.hash):
            guard.free(away)
            (self.trials / old).rename(away)
        folder.rename(place)
        with suppress(OSError):
            guard.free(away)
        return place

    def write_benchmark(self, text: str) -> None:
        """Keep the benchmark's file beside its trials."""
        path = guard.room(self.path) / "benchmark.toml"
        guard.write_text(text, path, self.path / f".benchmark.toml.{os.getpid()}")


def seal(folder: Path, document: TrialDocument, older: StoredTrial | None) -> TrialDocument:
    """Complete a trial's new folder, and write its document there; gives the document.

    Tables of probes that only the ``older`` result has are copied: they were measured on an equal training. The
    document gets these probes, and the digests of all files.
    """
    probes = dict(document.probes)
    for key, probe in older.document.probes.items() if older else ():
        name = f"probes/{key}.parquet"
        if older and key not in probes and older.files.has(name):
            copy(older.files, name, folder)
            probes[key] = probe
    document = document.model_copy(update={"probes": probes, "files": digests(folder)})
    (folder / "trial.json").write_text(document.to_json(), encoding="utf-8")
    return document


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every regular file of a trial but its document, by name."""
    files = FolderFiles(folder)
    names = [name for name, regular in files.walk() if regular and name != "trial.json"]
    return {name: digest_of(files, name) for name in names}
