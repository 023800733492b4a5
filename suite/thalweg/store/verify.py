"""Checks every file of results against its digest."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from thalweg import guard
from thalweg.store.files import digest_of
from thalweg.store.overlay import laid_over, place_of
from thalweg.store.results import PARTIAL, WORKING, BenchmarkResults
from thalweg.store.timings import timings_in
from thalweg.store.trials import StoredTrial
from thalweg.store.writing import ResultsFolder

ASIDE = "set-aside"
OLD = ".old"
"""End of the name of a result that is being replaced or deleted."""
FOREIGN = "does not belong to the trial"


@dataclass(frozen=True)
class Fault:
    """A fault in the results on disk."""

    path: Path
    reason: str


def verify(results: BenchmarkResults) -> tuple[int, list[Fault]]:
    """The number of whole trials, and every fault: unreadable, missing, changed and foreign files."""
    trials, unreadable = results.scan()
    faults = [Fault(item.path, item.reason) for item in unreadable]
    whole = 0
    for trial in trials:
        found = faults_of(trial)
        faults += found
        whole += not found
    return whole, faults + _beside(results)


def verify_overlay(results: BenchmarkResults) -> tuple[int, list[Fault]]:
    """The number of whole probes that this machine measured of packed trials, and what is wrong with others."""
    laid = laid_over(results)
    faults = [Fault(one.path, one.reason) for one in laid.ignored]
    whole = 0
    for hash_, probes in laid.probes.items():
        files = laid.files[hash_]
        for place in (place_of(key) for key, probe in probes.items() if probe.status == "done"):
            try:
                files.read(place, guard.TABLE)
            except OSError as error:
                faults.append(Fault(files.path / place, error.strerror or str(error)))
            else:
                whole += 1
    return whole, faults


def _beside(results: BenchmarkResults) -> list[Fault]:
    """Faults beside the trials: of the benchmark's file, of packed step times, and what runs have left."""
    faults = []
    for name in ("benchmark.toml", *timings_in(results.files)) if results.packed else ():
        try:
            results.files.read(name, guard.TABLE)
        except FileNotFoundError:
            continue
        except OSError as error:
            faults.append(Fault(results.path / name, str(error.strerror)))
    file = results.path / "benchmark.toml"
    if os.path.lexists(file) and not guard.is_regular(file):
        faults.append(Fault(file, guard.kind_at(file)))
    for folder in (results.path / WORKING, results.path / PARTIAL):
        for path in sorted(folder.iterdir()) if guard.is_folder(folder) else []:
            if path.suffix == OLD:
                faults.append(Fault(path, "left over"))
            elif not guard.is_regular(path) and not guard.is_folder(path):
                faults.append(Fault(path, guard.kind_at(path)))
    return faults


def set_aside(results: ResultsFolder, faults: Iterable[Fault]) -> tuple[list[Path], list[Fault]]:
    """Move damaged and foreign things into ``set-aside`` beside the trials; nothing is deleted.

    A trial with a damaged file is moved as a whole. A foreign file is moved alone.

    Returns:
        The new places, and the faults that cannot be moved, with the reason.
    """
    moved: list[Path] = []
    stuck: list[Fault] = []
    for place in dict.fromkeys(_whole(results, fault) for fault in faults):
        # one of trials/TRIAL/..., .working/HASH and benchmark.toml
        (*_, name) = place.relative_to(results.path).parts[:2]
        hash_ = name.removesuffix(OLD).rpartition("--")[2]
        try:
            # not while another process trains it
            with results.hold(hash_) if guard.HASH.fullmatch(hash_) else nullcontext():
                target = guard.unused(guard.room(results.path / ASIDE), place.name)
                if os.path.lexists(place):
                    place.rename(target)
                    moved.append(target)
        except OSError as error:
            stuck.append(Fault(place, f"cannot be set aside: {error.strerror or error}"))
    return moved, stuck


def _whole(results: BenchmarkResults, fault: Fault) -> Path:
    inside = fault.path.is_relative_to(results.trials)
    if not inside or fault.reason.endswith(FOREIGN):
        return fault.path
    return results.trials / fault.path.relative_to(results.trials).parts[0]


def faults_of(trial: StoredTrial) -> list[Fault]:
    """The faults among the files of one trial."""
    written = trial.document.files
    try:
        there = dict(trial.files.walk())
    except OSError as error:
        return [Fault(trial.path, f"cannot be read: {error.strerror}")]
    faults = []
    for name in written:
        try:
            if digest_of(trial.files, name) != written[name]:
                faults.append(Fault(trial.path / name, "has changed since it was written"))
        except OSError as error:
            faults.append(Fault(trial.path / name, f"cannot be read: {error.strerror}"))
    for name, regular in there.items():
        if name not in written and name != "trial.json":
            kind = "" if regular else f"{guard.kind_at(trial.path / name)}, and "
            faults.append(Fault(trial.path / name, kind + FOREIGN))
    return faults
