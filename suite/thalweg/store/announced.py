"""What a run at work trains: a file that the run keeps while it is at work, for whoever follows it.

The file lies beside the locks of the trials, as ``.working/run-<8 digits>.jsonl``. Its first line says what the run
will train, and each further line which trial has ended, and how. The run holds the lock of the same name. So a file
whose lock is free was left by a run that was killed, and counts for nobody; the next run removes it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import filelock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thalweg import guard
from thalweg.plan import PlannedTrial
from thalweg.store.documents import Whole
from thalweg.store.results import WORKING, BenchmarkResults
from thalweg.store.sweep import free_lock, is_held
from thalweg.store.writing import ResultsFolder

ANNOUNCED = "run-*.jsonl"
"""The names of the files."""
Hash = Annotated[str, Field(pattern=f"^{guard.HASH.pattern}$")]


class RunAtWork(BaseModel):
    """What a run said at its start, and which of its trials have ended."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    trials: dict[Hash, tuple[str, str]]
    """The workload and the optimizer of each trial that the run trains, by hash."""
    stage: bool = False
    """Whether these are the trials of one stage of tuning, and further stages follow."""
    later: Whole = 0
    """Trials of the further stages, at most."""
    ended: dict[Hash, Literal["done", "diverged", "failed"]] = {}
    """The status of the trials that have ended."""


class _Ended(BaseModel):
    hash: Hash
    status: Literal["done", "diverged", "failed"]


@dataclass
class Announcement:
    """The file of a run at work. What cannot be written is not announced: the run goes on without its file."""

    results: ResultsFolder
    _lock: filelock.BaseFileLock | None = None
    _path: Path | None = field(default=None)

    def begin(self, trials: Iterable[PlannedTrial], stage: bool, later: int) -> None:
        """Announce the trials that the run will train."""
        named = {planned.trial.hash: (planned.workload, planned.optimizer) for planned in trials}
        said = RunAtWork(trials=named, stage=stage, later=later)
        # a file system without locks raises NotImplementedError
        with suppress(OSError, NotImplementedError):
            working = guard.room(guard.room(self.results.path) / WORKING)
            path = working / f"run-{secrets.token_hex(4)}.jsonl"
            self._lock = filelock.FileLock(path.with_suffix(".lock"))
            self._lock.acquire()
            self._path = path
            self._append(said.model_dump_json(by_alias=True, exclude={"ended"}))

    def end(self, hash_: str, status: str) -> None:
        """Tell that a trial has ended."""
        self._append(json.dumps({"hash": hash_, "status": status}))

    def close(self) -> None:
        """Remove the file: the run has ended."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._path = None
        if self._lock is not None:
            with suppress(OSError):
                self._lock.release()
                Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock = None

    def _append(self, line: str) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("ab") as file:
                file.write(line.encode() + b"\n")
        except OSError:
            # a file that lacks an end would tell a wrong number
            self.close()


def runs_at_work(results: BenchmarkResults) -> list[RunAtWork]:
    """What the runs that are at work now have announced; nothing is changed.

    A run on another machine is seen where the file system shares locks.
    """
    found = []
    for path in _announced(results):
        if is_held(path.with_suffix(".lock")) and (run := _read(path)) is not None:
            found.append(run)
    return found


def remove_stale(results: ResultsFolder) -> None:
    """Remove the files of runs that were killed."""
    for path in _announced(results):
        lock = path.with_suffix(".lock")
        with free_lock(lock) as held:
            if held:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                    lock.unlink(missing_ok=True)


def _announced(results: BenchmarkResults) -> list[Path]:
    working = results.path / WORKING
    return (
        sorted(path for path in working.glob(ANNOUNCED) if guard.is_regular(path)) if guard.is_folder(working) else []
    )


def _read(path: Path) -> RunAtWork | None:
    """What a file says; None where the file has gone, or its first line is not whole yet."""
    try:
        first, *lines = guard.read_bytes(path, guard.DOCUMENT).split(b"\n")
        run = RunAtWork.model_validate_json(first)
        # the text behind the last end of a line is empty, or a line that is being written
        ends = [_Ended.model_validate_json(line) for line in lines[:-1]]
    except (OSError, ValidationError, RecursionError):
        return None
    ended: Mapping[str, str] = {one.hash: one.status for one in ends if one.hash in run.trials}
    return run.model_copy(update={"ended": ended})
