"""Probes that were measured here of packed trials: kept in a folder of the user's own, and laid over the trials.

Packed results are only read. What counts is decided each time the overlay is read, because the packed file may be
replaced by another one at any time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, NamedTuple

import filelock
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thalweg import guard
from thalweg.store.documents import Place, ProbeDocument, TrialDocument
from thalweg.store.files import Files, FolderFiles, digest_of
from thalweg.store.results import PARTIAL, BenchmarkResults
from thalweg.store.roots import own_root
from thalweg.store.tables import write_table
from thalweg.store.trials import StoredTrial

OVERLAY = "probes"
"""Folder of all overlays in a results root; a trial's folder in it is ``<benchmark>--<hash>``."""
MEASURED = "measured.json"


class OverlayDocument(BaseModel):
    """``measured.json``: what was measured of one packed trial."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    hash: Annotated[str, Field(pattern=f"^{guard.HASH.pattern}$")]
    weights: dict[Place, str]
    """SHA-256 of the trial's files of weights, by name: the tables belong to these weights."""
    probes: dict[Place, ProbeDocument] = {}
    files: dict[Place, str] = {}
    """SHA-256 of each table, by name."""


@dataclass(frozen=True)
class CheckedFiles(FolderFiles):
    """The files of a folder; a file that does not have its digest is refused."""

    sums: Mapping[str, str] = field(default_factory=dict)

    def open(self, name: str, limit: int) -> BinaryIO:
        """The content, in memory."""
        return io.BytesIO(self.read(name, limit))

    def read(self, name: str, limit: int) -> bytes:
        """The content, checked against its digest."""
        self.check(name)
        content = super().read(name, limit)
        if hashlib.sha256(content).hexdigest() != self.sums.get(name):
            raise guard.Refused("has changed since it was measured", self.path / name)
        return content


class Ignored(NamedTuple):
    """Something in an overlay that does not count, and why."""

    hash: str
    """The trial's."""
    path: Path
    reason: str


@dataclass(frozen=True)
class Laid:
    """What an overlay adds to the trials of packed results."""

    probes: Mapping[str, Mapping[str, ProbeDocument]] = field(default_factory=dict)
    """By the trial's hash and the probe's key. A trial's own probes are not among them."""
    files: Mapping[str, Files] = field(default_factory=dict)
    """The files that hold the tables, by the trial's hash."""
    ignored: Sequence[Ignored] = ()


NOTHING = Laid()


class Overlay:
    """``<root>/probes/<benchmark>--<hash>/``: reads and writes what is measured of a benchmark's packed trials.

    Args:
        root: a results root of the user's own.
        results: the results that the probes are laid over; folders take their probes themselves and need no overlay.
    """

    def __init__(self, root: Path, results: BenchmarkResults) -> None:
        self.path = root / OVERLAY
        self.results = results

    def folder(self, hash_: str) -> Path:
        """The folder of a trial's probes."""
        return self.path / f"{self.results.name}--{hash_}"

    def read(self) -> Laid:
        """What counts: tables measured on the weights that the packed trial has, of probes that it lacks.

        A table counts also where the packed trial has the same probe without a table, because the probe failed.
        """
        probes: dict[str, Mapping[str, ProbeDocument]] = {}
        files: dict[str, Files] = {}
        ignored: list[Ignored] = []
        begin = f"{self.results.name}--"
        for name in FolderFiles(self.path).names(""):
            hash_ = name.removeprefix(begin)
            if not name.startswith(begin) or not guard.HASH.fullmatch(hash_):
                continue
            document = self._document(hash_)
            trial = self.results.find(hash_)
            if isinstance(document, str):
                ignored.append(Ignored(hash_, self.folder(hash_), document))
            elif trial is None:
                ignored.append(
                    Ignored(hash_, self.folder(hash_), f"{self.results.path.name} has no trial {hash_} any more")
                )
            elif weights_of(trial.document) != document.weights:
                ignored.append(Ignored(hash_, self.folder(hash_), f"trial {hash_} has other weights now"))
            else:
                theirs = trial.document.probes
                mine = {key: one for key, one in document.probes.items() if _counts(one, theirs.get(key))}
                told = "the packed trial has this probe too, and the packed one counts"
                ignored += [
                    Ignored(hash_, self.folder(hash_) / place_of(key), told)
                    for key in document.probes
                    if key not in mine
                ]
                probes[hash_], files[hash_] = mine, CheckedFiles(self.folder(hash_), document.files)
        return Laid(probes, files, ignored)

    @contextmanager
    def hold(self, hash_: str) -> Iterator[None]:
        """Hold a trial's folder, so that no other process writes to it meanwhile."""
        guard.room(self.path)
        with filelock.FileLock(guard.room(self.folder(hash_)) / ".lock"):
            yield

    def scratch(self, hash_: str, key: str) -> Path:
        """Where a long measurement may keep its unfinished work."""
        return self.folder(hash_) / PARTIAL / key

    def add_probe(self, trial: StoredTrial, probe: ProbeDocument, table: pd.DataFrame | None) -> Path:
        """Add a probe's table, or the reason why the probe has no table; gives the table's path.

        The caller holds the trial (see ``hold``).

        Raises:
            OSError: what is there already does not belong to the trial as it is, or the folder cannot be written.
        """
        hash_, key = trial.document.hash, probe.request.key
        folder, weights = self.folder(hash_), weights_of(trial.document)
        place = place_of(key)
        guard.room((folder / place).parent)
        older = self._document(hash_) if (folder / MEASURED).exists() else OverlayDocument(hash=hash_, weights=weights)
        if isinstance(older, str) or older.weights != weights:
            reason = older if isinstance(older, str) else f"trial {hash_} has other weights now"
            raise guard.Refused(reason, folder)
        files = dict(older.files)
        if table is not None:
            partial = guard.free(guard.room(folder / PARTIAL) / f"{key}.parquet")
            write_table(table, partial, probe.request.model_dump(mode="json"))
            partial.replace(folder / place)
            files[place] = digest_of(FolderFiles(folder), place)
        document = older.model_copy(update={"probes": {**older.probes, key: probe}, "files": files})
        text = document.model_dump_json(by_alias=True, indent=1)
        guard.write_text(text, folder / MEASURED, guard.room(folder / PARTIAL) / MEASURED)
        return folder / place

    def _document(self, hash_: str) -> OverlayDocument | str:
        """A trial's document, or why it cannot be used."""
        files = FolderFiles(self.folder(hash_))
        if refusal := files.refusal:
            return refusal
        try:
            document = OverlayDocument.model_validate_json(files.read(MEASURED, guard.DOCUMENT))
        except OSError as error:
            return f"{MEASURED}: {error.strerror or error}"
        except (ValidationError, RecursionError):
            return f"{MEASURED} is no document of measured probes"
        if document.hash != hash_ or any(probe.request.key != key for key, probe in document.probes.items()):
            return f"{MEASURED} belongs to another trial or probe"
        return document


def laid_over(results: BenchmarkResults) -> Laid:
    """What this machine has measured of a benchmark's packed trials; nothing for results in a folder."""
    return Overlay(own_root(), results).read() if results.packed else NOTHING


def place_of(key: str) -> str:
    """The name of a probe's table in the folder of a trial."""
    return f"probes/{key}.parquet"


def weights_of(document: TrialDocument) -> dict[str, str]:
    """SHA-256 of a trial's files of weights, by name."""
    return {name: digest for name, digest in document.files.items() if name.startswith("weights/")}


def _counts(mine: ProbeDocument, theirs: ProbeDocument | None) -> bool:
    return theirs is None or (theirs.status == "failed" and mine.status == "done")
