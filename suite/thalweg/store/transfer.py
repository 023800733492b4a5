"""Deletes trials, and imports trials from the results of another machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from thalweg import guard
from thalweg.store.documents import ENDED, TrialDocument
from thalweg.store.files import copy
from thalweg.store.results import BenchmarkResults
from thalweg.store.tables import read_table
from thalweg.store.trials import StoredTrial
from thalweg.store.verify import FOREIGN, Fault, faults_of
from thalweg.store.writing import ResultsFolder


def delete(results: ResultsFolder, trial: StoredTrial) -> None:
    """Delete a trial; waits while another process trains or measures it."""
    with results.hold(trial.document.hash):
        away = guard.free(results.working / f"{trial.document.hash}.old")
        trial.path.rename(away)
        # without its document nothing brings the trial back if this process is killed now
        (away / "trial.json").unlink()
        guard.remove_tree(away)


@dataclass
class Imported:
    """The outcome of an import: trials by the names of their folders."""

    added: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    """Present here with equal numbers."""
    conflicts: dict[str, str] = field(default_factory=dict)
    """Present here with other numbers, which stay; and how they differ."""
    left: dict[str, str] = field(default_factory=dict)
    """Files in a trial's folder that are not copied, and why."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Names that are not whole in the source, or are no results, with the reason."""


def take_over(results: ResultsFolder, source: BenchmarkResults) -> Imported:
    """Copy the trials of ``source`` that are missing here, or have failed or are unfinished here.

    Only files that a trial's document lists are copied, and only if they have the digests in that document.
    """
    done = Imported()
    stored, unreadable = source.scan()
    done.damaged |= {item.path.name: item.reason for item in unreadable}
    for theirs in stored:
        name = theirs.path.name
        faults = [fault for fault in faults_of(theirs) if not _is_left(done, theirs, fault)]
        if faults:
            done.damaged[name] = f"{faults[0].path.relative_to(theirs.path)} {faults[0].reason}"
            continue
        with results.hold(theirs.document.hash):
            mine = results.find(theirs.document.hash)
            if mine is None or (mine.document.status not in ENDED and theirs.document.status in ENDED):
                folder = guard.free(results.working / theirs.document.hash)
                try:
                    copy_trial(theirs, folder / "result")
                    results.install(folder / "result", theirs.document)
                    done.added.append(name)
                except Changed as error:
                    done.damaged[name] = str(error)
                except OSError as error:
                    # an error in the source costs its trial, and an error of writing ends the import
                    if not _is_in(error.filename, theirs.path):
                        raise
                    reason = error.strerror or str(error)
                    done.damaged[name] = f"{Path(os.fsdecode(error.filename)).relative_to(theirs.path)}: {reason}"
                finally:
                    guard.remove_left(folder)
            elif reason := _differ(mine, theirs):
                done.conflicts[name] = reason
            else:
                done.there.append(name)
    _take_benchmark(results, source, done)
    return done


def _is_left(done: Imported, trial: StoredTrial, fault: Fault) -> bool:
    """Whether the fault is a foreign file: that file is left, and the trial is copied."""
    if fault.reason.endswith(FOREIGN):
        done.left[f"{trial.path.name}/{fault.path.relative_to(trial.path)}"] = fault.reason
        return True
    return False


class Changed(Exception):  # noqa: N818 - the reason, as the end of a sentence
    """A file has changed since it was read."""


def copy_trial(trial: StoredTrial, folder: Path) -> None:
    """Copy the files that a trial's document lists into a new folder, with modes of our own.

    Raises:
        Changed: a file has another digest than the document says.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True)
    for name, digest in trial.document.files.items():
        try:
            trial.files.check(name)
        except OSError as error:
            raise Changed(f"{name} {error.strerror}") from error
        if copy(trial.files, name, folder) != digest:
            raise Changed(f"{name} has changed since it was written")
    (folder / "trial.json").write_bytes(document_of(trial))


def document_of(trial: StoredTrial) -> bytes:
    """The bytes of a trial's document; Changed where the document is no longer the one that was read."""
    content = trial.files.read("trial.json", guard.DOCUMENT)
    try:
        same = TrialDocument.model_validate_json(content) == trial.document
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise Changed("trial.json has changed")
    return content


def _take_benchmark(results: ResultsFolder, source: BenchmarkResults, done: Imported) -> None:
    """Copy the benchmark's file where trials were added and the file is missing."""
    if not done.added or (results.path / "benchmark.toml").exists():
        return
    try:
        text = source.files.read("benchmark.toml", guard.TEXT).decode("utf-8")
    except FileNotFoundError:
        return
    except OSError as error:
        done.damaged["benchmark.toml"] = error.strerror or str(error)
    except UnicodeDecodeError:
        done.damaged["benchmark.toml"] = "is no UTF-8 text"
    else:
        results.write_benchmark(text)


def _is_in(name: object, folder: Path) -> bool:
    """Whether an error names a file in a folder."""
    return isinstance(name, str | bytes) and Path(os.fsdecode(name)).is_relative_to(folder)


def _differ(mine: StoredTrial, theirs: StoredTrial) -> str:
    """How two results of one trial differ, times aside; empty where they are equal."""
    if mine.document.status != theirs.document.status:
        return f"{mine.document.status} here, {theirs.document.status} there"
    try:
        curves = [_numbers(trial) for trial in (mine, theirs)]
    except (OSError, ValueError) as error:
        return f"its curve cannot be read: {error.strerror if isinstance(error, OSError) else error}"
    return "" if curves[0] == curves[1] else "its curve has other numbers"


def _numbers(trial: StoredTrial) -> str:
    """A curve without its seconds, which differ each time."""
    curve = read_table(trial.files, "curve.parquet")
    return curve.drop(columns=["seconds"], errors="ignore").to_json(double_precision=15)
