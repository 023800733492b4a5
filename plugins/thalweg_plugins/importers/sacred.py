"""Reads the folders of Sacred's FileStorageObserver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import flat, number
from thalweg.foreign.files import table_of
from thalweg.foreign.rows import Rows


class Sacred(thalweg.Importer):
    """A folder for each run: ``metrics.json`` has lists of steps and values, ``config.json`` the settings."""

    name = "sacred"
    summary = "metrics.json, config.json and run.json of Sacred's FileStorageObserver"
    source = "sacred 0.8, sacred.observers.FileStorageObserver"

    def recognises(self, path: Path) -> bool:
        """Whether the file is ``metrics.json`` beside ``run.json``."""
        return path.name == "metrics.json" and (path.parent / "run.json").is_file()

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        for path in files:
            rows = Rows(str(path))
            for key, told in table_of(path).items():
                steps, values = _lists(path, key, told)
                for step, value in zip(steps, values, strict=True):
                    rows.add(number(step), key, number(value))
            settings = path.parent / "config.json"
            parameters = flat(table_of(settings)) if settings.is_file() else {}
            run = table_of(path.parent / "run.json") if (path.parent / "run.json").is_file() else {}
            experiment = run.get("experiment")
            name = experiment.get("name") if isinstance(experiment, dict) else None
            parameters = {**({"workload": name} if isinstance(name, str) else {}), **parameters}
            lost = str(run.get("status", "COMPLETED"))
            failed = lost in ("FAILED", "INTERRUPTED", "TIMEOUT", "DIED")
            ended: Any = "failed" if failed else ""
            reason = f"Sacred says {lost}" if failed else ""
            yield ForeignRun(path.parent.name, path, rows.table(), parameters, ended, reason)


def _lists(path: Path, key: str, told: Any) -> tuple[list[Any], list[Any]]:
    steps, values = (told.get(name) if isinstance(told, dict) else None for name in ("steps", "values"))
    if not isinstance(steps, list) or not isinstance(values, list) or len(steps) != len(values):
        raise UserError(f"{path}: {key}: has no lists of steps and values of one length")
    return steps, [one.get("value") if isinstance(one, dict) else one for one in values]
