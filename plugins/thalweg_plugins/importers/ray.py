"""Reads the folders of Ray Tune's trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError, unknown
from thalweg.foreign.cells import flat, is_number, number
from thalweg.foreign.files import json_lines, table_of
from thalweg.foreign.rows import Rows

_OWN = frozenset(
    {
        "training_iteration",
        "timestamp",
        "time_this_iter_s",
        "time_total_s",
        "time_since_restore",
        "iterations_since_restore",
        "pid",
        "done",
        "should_checkpoint",
    }
)
"""What Tune adds to a report."""


class Ray(thalweg.Importer):
    """A folder for each trial: ``result.json`` has a line for each report, ``params.json`` the settings.

    Steps are reports, from 1 up; ``--map step=KEY`` names another one.
    """

    name = "ray"
    summary = "result.json and params.json of Ray Tune"
    source = "ray 2.60, ray.tune.logger.JsonLoggerCallback"

    def recognises(self, path: Path) -> bool:
        """Whether the file is ``result.json`` beside ``params.json``."""
        return path.name == "result.json" and (path.parent / "params.json").is_file()

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        count = context.step or "training_iteration"
        for path in files:
            rows = Rows(str(path))
            for line in json_lines(path):
                if count not in line:
                    raise UserError(f"{path}: --map step: {unknown('key', count, line)}")
                for key, value in flat({name: one for name, one in line.items() if name != "config"}).items():
                    if key not in _OWN and key != count and is_number(value):
                        rows.add(number(line[count]), key, value)
            settings = path.parent / "params.json"
            parameters = flat(table_of(settings)) if settings.is_file() else {}
            counts: Literal["steps", "epochs"] = "epochs" if count == "training_iteration" else "steps"
            lost = (path.parent / "error.txt").is_file()
            ended: Any = "failed" if lost else ""
            reason = "Ray wrote error.txt" if lost else ""
            yield ForeignRun(path.parent.name, path, rows.table(), parameters, ended, reason, counts)
