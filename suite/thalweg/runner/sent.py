"""Trials of a worker that does not see the results folder: trained in a folder of its own, and sent back whole."""

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
from thalweg.store.documents import TrialDocument
from thalweg.store.results import BenchmarkResults, StoredTrial, digests


@dataclass
class Sent:
    """What came of a group, and the folder of each of its trials as a ZIP archive; empty where there is none."""

    outcomes: list[TrialResult]
    folders: list[bytes]


@contextmanager
def token(jobs: Sequence[object]) -> Iterator[Path | None]:
    """A file in the results folder: a worker that finds it shares the folder. None where jobs are no trials."""
    first = jobs[0] if jobs else None
    if not isinstance(first, Group):
        yield None
        return
    results = BenchmarkResults(first.jobs[0].results, first.jobs[0].benchmark)
    results.working.mkdir(parents=True, exist_ok=True)
    path = results.working / f"{uuid.uuid4()}.lock"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def train_and_send(group: Group, progress: Progress) -> Sent:
    """Train a group away from its results folder."""
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
        jobs = tuple(replace(job, results=Path(folder)) for job in group.jobs)
        outcomes = train_and_save_group(Group(jobs), lambda _, done, total: progress(group, done, total))
        return Sent(outcomes, [_packed(outcome.path) if outcome.path else b"" for outcome in outcomes])


def install(group: Group, sent: Sent) -> list[TrialResult]:
    """Put what was sent in place; a failure never replaces a result."""
    found = []
    for job, outcome, packed in zip(group.jobs, sent.outcomes, sent.folders, strict=True):
        path = None
        if packed:
            path = _put(BenchmarkResults(job.results, job.benchmark), job.planned.trial.hash, packed)
        found.append(replace(outcome, path=path))
    return found


def _put(results: BenchmarkResults, hash_: str, packed: bytes) -> Path:
    with results.hold(hash_):
        there = results.find(hash_)
        work = results.working / hash_
        shutil.rmtree(work, ignore_errors=True)
        folder = work / "result"
        try:
            document = _unpacked(packed, hash_, folder)
            if there is not None and there.document.status != "failed" == document.status:
                return there.path
            document = _with_tables_of(there, document, folder) if there else document
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


def _with_tables_of(older: StoredTrial, document: TrialDocument, folder: Path) -> TrialDocument:
    """Tables that only the older result has were measured on the same training, and stay."""
    probes = dict(document.probes)
    for key, probe in older.document.probes.items():
        name = f"probes/{key}.parquet"
        if key not in probes and guard.is_regular(older.path / name):
            guard.copy(older.path, name, folder)
            probes[key] = probe
    document = document.model_copy(update={"probes": probes, "files": digests(folder)})
    (folder / "trial.json").write_text(document.to_json(), encoding="utf-8")
    return document


def _packed(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()
