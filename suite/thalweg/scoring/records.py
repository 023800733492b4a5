"""The records of an optimization track: a file that lists each record with its settings and runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from thalweg import guard
from thalweg.errors import UserError
from thalweg.scoring.track import Means
from thalweg.shown import cut

SUFFIX = ".records.json"


class Record(BaseModel):
    """One record: who took how many steps, with which settings, and by which runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Annotated[int, Field(gt=0, lt=1 << 63, strict=True)]
    optimizer: Annotated[str, Field(max_length=200)]
    """The label in the benchmark."""
    trial: dict[str, Any]
    """The optimizer with its settings, plugin and revision, the schedule and weight decay, as a trial keeps them."""
    statistic: FiniteFloat
    """(target - mean) n^(1/2) at ``steps``."""
    against: Annotated[str, Field(max_length=200)]
    """The record before; empty for the first."""
    difference: FiniteFloat | None
    """(mean of the record before - mean) / (1 / n + 1 / m)^(1/2) at ``steps``; None for the first."""
    runs: Annotated[dict[int, Annotated[str, Field(pattern=f"^{guard.HASH.pattern}$")]], Field(min_length=1)]
    """The hash of each run's trial, by seed."""
    means: dict[int, Annotated[float, Field(strict=True, gt=-1e100, lt=1e100)]]
    """The mean validation loss by step, which later entries are compared with."""
    by: Annotated[str, Field(max_length=200)]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    """Of the entry, as year-month-day."""

    @model_validator(mode="after")
    def _evaluated(self) -> Record:
        if self.steps not in self.means:
            raise ValueError("means has no value at the record's steps")
        return self

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
            key = "".join(f"{part}: " for part in map(str, first["loc"]))
            raise UserError(f"{path}: record {number}: {cut(key)}{first['msg'].lower()}") from error
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
