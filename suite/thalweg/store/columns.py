"""A trial as one row for lists, leaderboards, the app and the look for cached trials, and the rows of its curve."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from thalweg import guard
from thalweg.shown import cut
from thalweg.store.curve import CURVE_COLUMNS
from thalweg.store.tables import Unfit, check_names, read_arrow
from thalweg.store.timings import configuration
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import KEPT
from thalweg.trial import files_of

TRIALS = pa.schema(
    {
        "name": pa.string(),
        "hash": pa.string(),
        "configuration": pa.string(),
        "workload": pa.string(),
        "optimizer": pa.string(),
        "seed": pa.int64(),
        "device": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        "ran_on": pa.string(),
        "state_bytes": pa.float64(),
        "seconds": pa.float64(),
        "final": pa.string(),
        "files": pa.string(),
        "found": pa.string(),
        "probes_done": pa.string(),
        "probes_failed": pa.string(),
        "weights": pa.string(),
        "curve_error": pa.string(),
    }
)
"""One row a trial.

- ``name``: of the trial's folder.
- ``configuration``: hash of the trial at seed 0.
- ``final``: the last values by split and metric, as JSON.
- ``files``: the user's files that made the trial, path to digest, as JSON; empty where the trial has no such files.
- ``found``: what was found out about the optimizer, with the optimizer's and its plugin's name, as JSON; mostly empty.
- ``probes_done``, ``probes_failed``, ``weights``: keys of probes and names of weights, each with SEPARATOR behind it.
- ``curve_error``: why the curve cannot be read; empty where it can.
"""

SEPARATOR = "/"
"""A character that no file's name has."""

_TYPES = {"int64": pa.int64(), "float64": pa.float64(), "str": pa.string()}

CURVES = pa.schema({name: _TYPES[kind] for name, kind in CURVE_COLUMNS.items()})
"""The rows of a curve."""

TEXT = [name for name, kind in CURVE_COLUMNS.items() if kind == "str"]

_ALWAYS = [field.name for field in CURVES if field.type != pa.float64()]
"""Columns without empty cells. The other columns hold numbers, which are empty where they are not finite."""

CODED = pa.schema([pa.field(f.name, pa.dictionary(pa.int32(), f.type)) if f.name in TEXT else f for f in CURVES])
"""``CURVES`` with texts as numbers of a dictionary."""


def row_of(stored: StoredTrial) -> tuple[dict[str, Any], pa.Table]:
    """A trial's row of ``TRIALS``, and its curve, which is empty where it cannot be read."""
    document, trial = stored.document, stored.document.trial
    curve, error = CODED.empty_table(), ""
    try:
        curve = curve_of(stored)
    except UNREADABLE as failure:
        error = why(failure)
    by_status: dict[str, list[str]] = {"done": [], "failed": []}
    for key, probe in document.probes.items():
        by_status[probe.status].append(key)
    files, found = files_of([trial]), trial.optimizer.found
    row = {
        "name": stored.path.name,
        "hash": document.hash,
        "configuration": configuration(trial),
        "workload": document.workload,
        "optimizer": document.optimizer,
        "seed": trial.seed,
        "device": trial.device,
        "status": document.status,
        "reason": document.reason,
        "ran_on": ran_on(document.environment),
        "state_bytes": _number(document.summary.get("state_bytes")),
        "seconds": _number(document.summary.get("seconds")),
        "final": json.dumps(document.summary.get("final", {})),
        "files": json.dumps(files) if files else "",
        "found": json.dumps([trial.optimizer.name, trial.optimizer.provider, found]) if found else "",
        "probes_done": _joined(by_status["done"]),
        "probes_failed": _joined(by_status["failed"]),
        # read_trial has checked that every file which the document lists is there
        "weights": _joined(name for name in KEPT if f"weights/{name}.safetensors" in document.files),
        "curve_error": error,
    }
    return row, curve


def trials_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema = TRIALS) -> pa.Table:
    """The rows as a table."""
    return pa.Table.from_pylist(list(rows), schema=schema)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _joined(names: Any) -> str:
    return "".join(f"{name}{SEPARATOR}" for name in names)


UNREADABLE = (OSError, ValueError, KeyError, TypeError, NotImplementedError)
"""The errors that reading a table may raise, including pyarrow's errors."""


def why(failure: Exception) -> str:
    """Why a table cannot be read, in at most 200 characters."""
    if isinstance(failure, guard.Refused):
        return failure.reason
    if isinstance(failure, Unfit):
        return str(failure)
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    first = str(failure).partition("\n")[0]
    return cut(f"{type(failure).__name__}: {first}" if first else type(failure).__name__, 200)


def has_curve(stored: StoredTrial) -> bool:
    """Whether a trial's curve can be read."""
    try:
        curve_of(stored)
    except UNREADABLE:
        return False
    return True


def curve_of(stored: StoredTrial) -> pa.Table:
    """A curve with the columns and types of ``CODED``.

    Raises:
        Exception: one of UNREADABLE.
    """
    # from memory and without threads, which is quicker for 100,000 small files
    content = stored.files.read("curve.parquet", guard.TABLE)
    table = read_arrow(pa.BufferReader(content), TEXT)
    if "factor_inversions" not in table.column_names:
        table = table.append_column("factor_inversions", pa.array([0] * table.num_rows, pa.int64()))
    if "work" not in table.column_names:
        table = table.append_column("work", pa.nulls(table.num_rows, pa.float64()))
    table = table.select(CURVES.names).cast(CODED)
    if empty := [name for name in _ALWAYS if table.column(name).null_count]:
        raise ValueError(f"{empty[0]} has empty cells")
    check_names(table, TEXT)
    return table


def ran_on(environment: Mapping[str, Any]) -> str:
    """The parts of an environment that may change the last digits of a trial's numbers, for people."""
    torch = environment.get("packages", {}).get("torch", "unknown")
    threads = environment.get("threads", "?")
    where = environment.get("cpu") if environment.get("device") == "cpu" else environment.get("device")
    return f"torch {torch}, {where}, {threads} {'thread' if threads == 1 else 'threads'}"
