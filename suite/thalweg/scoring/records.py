"""The records of an optimization track: a file that lists each record with its settings and runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from thalweg import guard
from thalweg.errors import UserError
from thalweg.scoring.track import Means

SUFFIX = ".records.json"


class Record(BaseModel):
    """One record: who took how many steps, with which settings, and by which runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int
    optimizer: str
    """The label in the benchmark."""
    trial: dict[str, Any]
    """The optimizer with its settings, plugin and revision, the schedule and weight decay, as a trial keeps them."""
    statistic: float
    """(target - mean) n^(1/2) at ``steps``."""
    against: str
    """The record before; empty for the first."""
    difference: float | None
    """(mean of the record before - mean) / (1 / n + 1 / m)^(1/2) at ``steps``; None for the first."""
    runs: dict[int, str]
    """The hash of each run's trial, by seed."""
    means: dict[int, float]
    """The mean validation loss by step, which later entries are compared with."""
    by: str
    date: str
    """Of the entry, as year-month-day."""

    @property
    def as_means(self) -> Means:
        """What comparisons need."""
        return Means(self.means, len(self.runs))


def read_records(path: Path) -> list[Record]:
    """The records of a file, the newest last; none where there is no file.

    Raises:
        UserError: the file is no list of records, with the first mistake.
    """
    try:
        with guard.open_regular(path, guard.MB) as file:
            content = json.loads(file.read())
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read: {reason}") from error
    if not isinstance(content, list):
        raise UserError(f"{path}: is no list of records")
    found = []
    for number, each in enumerate(content, 1):
        try:
            found.append(Record.model_validate(each))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: record {number}: {key}: {first['msg'].lower()}") from error
    return found


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write all records, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    text = json.dumps([one.model_dump(mode="json") for one in records], indent=1) + "\n"
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
