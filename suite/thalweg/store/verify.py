"""Checks that every result on disk is what it says it is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from thalweg import guard
from thalweg.store.results import BenchmarkResults, StoredTrial, digest_of

ASIDE = "set-aside"
FOREIGN = "does not belong to the trial"


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
    if guard.is_folder(results.working):
        faults += [Fault(path, "left over") for path in sorted(results.working.iterdir()) if path.suffix == ".old"]
    return whole, faults


def set_aside(results: BenchmarkResults, faults: Iterable[Fault]) -> list[Path]:
    """Move what is wrong out of the results, into ``set-aside`` beside the trials; gives where it is now.

    A trial with a damaged file goes as a whole, a file that does not belong to it goes alone. Nothing is deleted.

    Raises:
        OSError: something cannot be moved.
    """
    moved = []
    for place in dict.fromkeys(_whole(results, fault) for fault in faults):
        hash_ = place.relative_to(results.path).parts[1].rpartition("--")[2]
        # not while somebody trains it
        with results.hold(hash_) if guard.HASH.fullmatch(hash_) else nullcontext():
            folder = guard.room(results.path / ASIDE)
            names = itertools.chain([place.name], (f"{place.name} ({count})" for count in itertools.count(2)))
            target = next(folder / name for name in names if not os.path.lexists(folder / name))
            if os.path.lexists(place):
                place.rename(target)
                moved.append(target)
    return moved


def _whole(results: BenchmarkResults, fault: Fault) -> Path:
    inside = fault.path.is_relative_to(results.trials)
    if not inside or fault.reason.endswith(FOREIGN):
        return fault.path
    return results.trials / fault.path.relative_to(results.trials).parts[0]


def faults_of(trial: StoredTrial) -> list[Fault]:
    """What is wrong with the files of one trial."""
    written = trial.document.files
    try:
        there = dict(guard.files_in(trial.path))
    except OSError as error:
        return [Fault(trial.path, f"cannot be read: {error.strerror}")]
    faults = []
    for name in written:
        try:
            if digest_of(trial.path, name) != written[name]:
                faults.append(Fault(trial.path / name, "has changed since it was written"))
        except OSError as error:
            faults.append(Fault(trial.path / name, f"cannot be read: {error.strerror}"))
    for name, regular in there.items():
        if name not in written and name != "trial.json":
            kind = "" if regular else f"{guard.kind_at(trial.path / name)}, and "
            faults.append(Fault(trial.path / name, kind + FOREIGN))
    return faults
