"""Checks that every result on disk is what it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from thalweg.store.curve import CURVE_COLUMNS
from thalweg.store.results import BenchmarkResults, StoredTrial
from thalweg.store.tables import read_table

_FILES = {"trial.json", "curve.parquet", "probes", "weights"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the results on disk."""

    path: Path
    reason: str


def verify(results: BenchmarkResults) -> tuple[int, list[Fault]]:
    """The number of trials that are whole, and every fault: unreadable, missing, foreign or left-over files."""
    trials, unreadable = results.scan()
    faults = [Fault(item.path, item.reason) for item in unreadable]
    whole = 0
    for trial in trials:
        found = _faults(trial)
        faults += found
        whole += not found
    if results.working.is_dir():
        faults += [Fault(path, "left over") for path in sorted(results.working.iterdir()) if path.suffix == ".old"]
    return whole, faults


def _faults(trial: StoredTrial) -> list[Fault]:
    faults = [
        Fault(path, "does not belong to a trial") for path in sorted(trial.path.iterdir()) if path.name not in _FILES
    ]
    curve = trial.path / "curve.parquet"
    try:
        missing = [column for column in CURVE_COLUMNS if column not in read_table(curve).columns]
        if missing:
            faults.append(Fault(curve, f"lacks the columns {', '.join(missing)}"))
    except (OSError, pa.ArrowException) as error:
        faults.append(Fault(curve, f"cannot be read: {type(error).__name__}"))
    for key, probe in trial.document.probes.items():
        path = trial.path / "probes" / f"{key}.parquet"
        if probe.status == "done":
            try:
                read_table(path)
            except (OSError, pa.ArrowException) as error:
                faults.append(Fault(path, f"cannot be read: {type(error).__name__}"))
    weights = trial.path / "weights"
    for path in sorted(weights.iterdir()) if weights.is_dir() else []:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                file.keys()
        except (OSError, SafetensorError) as error:
            faults.append(Fault(path, f"cannot be read: {error}"))
    return faults
