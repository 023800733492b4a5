"""Checks that every result on disk is what it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from thalweg.store.results import BenchmarkResults, StoredTrial, digests


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the results on disk."""

    path: Path
    reason: str


def verify(results: BenchmarkResults) -> tuple[int, list[Fault]]:
    """The number of trials that are whole, and every fault: unreadable, missing, changed or foreign files."""
    trials, unreadable = results.scan()
    faults = [Fault(item.path, item.reason) for item in unreadable]
    whole = 0
    for trial in trials:
        found = faults_of(trial)
        faults += found
        whole += not found
    if results.working.is_dir():
        faults += [Fault(path, "left over") for path in sorted(results.working.iterdir()) if path.suffix == ".old"]
    return whole, faults


def faults_of(trial: StoredTrial) -> list[Fault]:
    """What is wrong with the files of one trial."""
    try:
        found = digests(trial.path)
    except OSError as error:
        return [Fault(trial.path, f"cannot be read: {error.strerror}")]
    written = trial.document.files
    faults = [
        Fault(trial.path / name, "has changed since it was written")
        for name in written
        if name in found and found[name] != written[name]
    ]
    return faults + [Fault(trial.path / name, "does not belong to the trial") for name in found if name not in written]
