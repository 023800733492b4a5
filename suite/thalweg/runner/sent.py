"""Trials of a worker that does not see the results folder: trained in a folder of its own, and sent back whole."""

from __future__ import annotations

import io
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from thalweg.contracts.executor import Progress
from thalweg.runner.groups import Group, train_and_save_group
from thalweg.runner.outcome import TrialResult
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
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                archive.extractall(folder)
            document = TrialDocument.model_validate_json((folder / "trial.json").read_text(encoding="utf-8"))
            if there is not None and there.document.status != "failed" == document.status:
                return there.path
            document = _with_tables_of(there, document, folder) if there else document
            return results.install(folder, document)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _with_tables_of(older: StoredTrial, document: TrialDocument, folder: Path) -> TrialDocument:
    """Tables that only the older result has were measured on the same training, and stay."""
    probes = dict(document.probes)
    for key, probe in older.document.probes.items():
        name = f"probes/{key}.parquet"
        if key not in probes and (older.path / name).is_file():
            (folder / "probes").mkdir(exist_ok=True)
            shutil.copyfile(older.path / name, folder / name)
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
