"""Reads MLflow's tracking stores: the SQLite file, and the folder ``mlruns``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import number, plain
from thalweg.foreign.database import is_sqlite, tables_of
from thalweg.foreign.files import lines_of, text_of, yaml_of
from thalweg.foreign.rows import Rows

_LARGEST = 1.7976931348623157e308
"""What MLflow writes for infinity."""

_STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


class MLflow(thalweg.Importer):
    """All runs of a store that are not deleted.

    In SQLite nan is the value 0 with ``is_nan`` 1, and infinity the largest float. A key may have several values at
    one step; the one with the latest time counts. An experiment is a workload. Parameters are texts, which become
    numbers where they are some.
    """

    name = "mlflow"
    summary = "MLflow's store: mlflow.db, or the folder mlruns"
    source = "mlflow 3.17, mlflow.store.tracking.dbmodels.models and mlflow.store.tracking.file_store"
    packages = ("PyYAML",)
    install = "thalweg[import]"

    def recognises(self, path: Path) -> bool:
        """Whether the file is a SQLite file with MLflow's tables, or ``meta.yaml`` of a run."""
        if path.name == "meta.yaml":
            return (path.parent / "metrics").is_dir() and (path.parent / "params").is_dir()
        if path.suffix not in (".db", ".sqlite", ".sqlite3") or not is_sqlite(path):
            return False
        try:
            with tables_of(path) as tables:
                return {"runs", "metrics", "params", "latest_metrics"} <= tables.names()
        except UserError:
            return False

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """The runs of stores."""
        for path in files:
            if path.name == "meta.yaml":
                yield from _of_folder(path, context)
            else:
                yield from _of_database(path, context)


def _of_database(path: Path, context: ImportContext) -> Iterator[ForeignRun]:
    rows: dict[str, Rows] = {}
    parameters: dict[str, dict[str, Any]] = defaultdict(dict)
    with tables_of(path) as tables:
        runs = list(tables.rows("runs", "run_uuid, name, status, lifecycle_stage, experiment_id"))
        names = dict(tables.rows("experiments", "experiment_id, name")) if "experiments" in tables.names() else {}
        for key, value, run in tables.rows("params", "key, value, run_uuid"):
            parameters[run][key] = plain(value)
        for key, value, is_nan, step, run in tables.rows(
            "metrics", "key, value, is_nan, step, run_uuid", "timestamp, rowid"
        ):
            found = math.nan if is_nan else math.copysign(math.inf, value) if abs(value) == _LARGEST else value
            rows.setdefault(run, Rows(str(path))).add(step, key, found)
    for run, name, status, stage, experiment in runs:
        if stage == "deleted":
            context.note("MLflow: deleted runs are left out")
        elif run in rows:
            ended, reason = _ended(str(status), context)
            told = {**_workload(names.get(experiment)), **parameters[run]}
            yield ForeignRun(str(name or run), path, rows[run].table(), told, ended, reason)


def _of_folder(path: Path, context: ImportContext) -> Iterator[ForeignRun]:
    meta = yaml_of(path)
    if not isinstance(meta, dict):
        raise UserError(f"{path}: is no description of a run")
    if meta.get("lifecycle_stage") == "deleted":
        context.note("MLflow: deleted runs are left out")
        return
    folder, found = path.parent, []
    for file in _files(folder / "metrics"):
        key = file.relative_to(folder / "metrics").as_posix()
        for index, line in enumerate(lines_of(file), 1):
            words = line.split()
            try:
                time, value, step = int(words[0]), number(words[1]), int(words[2]) if len(words) > 2 else 0
            except (ValueError, IndexError) as error:
                raise UserError(f"{file}: line {index}: is no time, value and step") from error
            found.append((time, step, key, value))
    rows = Rows(str(folder))
    for _, step, key, value in sorted(found, key=lambda one: one[0]):
        rows.add(step, key, value)
    parameters = {
        file.relative_to(folder / "params").as_posix(): plain(text_of(file).strip())
        for file in _files(folder / "params")
    }
    status = meta.get("status")
    ended, reason = _ended(_STATUS.get(status, "") if isinstance(status, int) else str(status), context)
    above = folder.parent / "meta.yaml"
    experiment = yaml_of(above) if above.is_file() else {}
    parameters = {**_workload(experiment.get("name") if isinstance(experiment, dict) else None), **parameters}
    if found:
        yield ForeignRun(str(meta.get("run_name") or folder.name), folder, rows.table(), parameters, ended, reason)


def _workload(experiment: Any) -> dict[str, Any]:
    """An experiment is a workload; the one that MLflow makes by itself says nothing."""
    return {"workload": experiment} if isinstance(experiment, str) and experiment != "Default" else {}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _ended(status: str, context: ImportContext) -> tuple[Literal["failed", ""], str]:
    if status in ("FAILED", "KILLED"):
        return "failed", f"MLflow says {status}"
    if status in ("RUNNING", "SCHEDULED"):
        context.note(f"MLflow: a run is {status}, so its curve may not be at its end")
    return "", ""
