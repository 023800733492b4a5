"""Trials of a worker that does not see the results folder: the worker trains them elsewhere and returns their files."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from thalweg import guard
from thalweg.contracts.executor import Progress
from thalweg.outcome import TrialResult
from thalweg.runner.groups import Group, train_and_save_group
from thalweg.store.documents import ENDED, TrialDocument
from thalweg.store.writing import ResultsFolder, seal


@dataclass
class ReturnedTrials:
    """The outcomes of a group's trials, and the files of each trial as a ZIP archive; empty bytes without files."""

    outcomes: list[TrialResult]
    folders: list[bytes]


@contextmanager
def token(jobs: Sequence[object]) -> Iterator[Path | None]:
    """A file in the results folder: a worker that finds it shares the folder. None where jobs are no trials."""
    first = jobs[0] if jobs else None
    if not isinstance(first, Group):
        yield None
        return
    results = ResultsFolder(first.jobs[0].results, first.jobs[0].benchmark)
    results.working.mkdir(parents=True, exist_ok=True)
    path = results.working / f"{uuid.uuid4()}.lock"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def train_and_send(group: Group, progress: Progress) -> ReturnedTrials:
    """Train a group away from its results folder."""
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
        jobs = tuple(replace(job, results=Path(folder)) for job in group.jobs)
        outcomes = train_and_save_group(Group(jobs), lambda _, done, total: progress(group, done, total))
        return ReturnedTrials(outcomes, [_packed(outcome.path) if outcome.path else b"" for outcome in outcomes])


def install(group: Group, returned: ReturnedTrials) -> list[TrialResult]:
    """Put returned trials into the results; a failure never replaces a result."""
    found = []
    for job, outcome, packed in zip(group.jobs, returned.outcomes, returned.folders, strict=True):
        path = None
        if packed:
            path = _put(ResultsFolder(job.results, job.benchmark), job.planned.trial.hash, packed)
        found.append(replace(outcome, path=path))
    return found


def _put(results: ResultsFolder, hash_: str, packed: bytes) -> Path:
    with results.hold(hash_):
        there = results.find(hash_)
        work = results.working / hash_
        shutil.rmtree(work, ignore_errors=True)
        folder = work / "result"
        try:
            document = _unpacked(packed, hash_, folder)
            if there is not None and there.document.status in ENDED and document.status not in ENDED:
                return there.path
            document = seal(folder, document, there) if there else document
            return results.install(folder, document)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _unpacked(packed: bytes, hash_: str, folder: Path) -> TrialDocument:
    """Write what an archive has of the files that its document lists; ValueError where it is not that trial, whole."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        document = TrialDocument.model_validate_json(guard.unpack(archive, "trial.json"))
        if document.hash != hash_:
            raise ValueError(f"it is the trial {document.hash}, not {hash_}")
        for name, digest in {"trial.json": "", **document.files}.items():
            content = guard.unpack(archive, name)
            if digest and hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(f"{name} is not what its document says")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return document


def _packed(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()
