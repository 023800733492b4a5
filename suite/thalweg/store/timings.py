"""Step times on disk: ``<benchmark>/timings/<workload>--<optimizer>--<machine>.parquet``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thalweg import guard
from thalweg.store.files import Files, FolderFiles
from thalweg.store.tables import read_metadata, read_table, write_table
from thalweg.trial import Trial


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step of one configuration on one machine."""

    machine: str
    median: float
    low: float
    high: float
    """Quartiles of the blocks' means."""


def configuration(trial: Trial) -> str:
    """The hash of a trial without its seed: a step's cost depends on nothing else."""
    return trial.model_copy(update={"seed": 0}).hash


def machine_name(environment: Mapping[str, Any]) -> str:
    """Processor or GPU, cores and threads, as part of a file's name."""
    device = environment["cpu"] if environment["device"] == "cpu" else environment["device"]
    words = f"{device} {environment['cores']} cores {environment['threads']} threads"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def write_times(folder: Path, workload: str, trial: Trial, table: pd.DataFrame, environment: Mapping[str, Any]) -> Path:
    """Keep the times of a configuration on a machine, in place of older times.

    Args:
        folder: the benchmark's results.
        workload: the workload's name.
        trial: a trial of the configuration, of any seed.
        table: columns block, steps, seconds (of a step), load (the system's load average before the block).
        environment: of the measurement.
    """
    path = guard.room(folder / "timings") / f"{workload}--{trial.optimizer.name}--{machine_name(environment)}.parquet"
    table = table.assign(configuration=configuration(trial))
    if guard.is_regular(path):
        old = _checked(read_table(FolderFiles(path.parent), path.name))
        table = pd.concat([old[old["configuration"] != configuration(trial)], table], ignore_index=True)
    partial = path.with_name(f".{path.name}.partial")
    write_table(table, partial, environment)
    partial.replace(path)
    return path


def timings_in(files: Files) -> list[str]:
    """The names of the files with step times."""
    return [f"timings/{name}" for name in files.names("timings") if name.endswith(".parquet")]


def read_times(files: Files) -> dict[str, list[StepTime]]:
    """By configuration the times on each machine; files that cannot be read are left out."""
    found: dict[str, list[StepTime]] = {}
    for name in timings_in(files):
        try:
            table, machine = _checked(read_table(files, name)), machine_name(read_metadata(files, name))
        except (OSError, ValueError, KeyError):
            continue
        for key, rows in table.groupby("configuration"):
            low, median, high = (float(value) for value in rows["seconds"].quantile([0.25, 0.5, 0.75]))
            found.setdefault(str(key), []).append(StepTime(machine, median, low, high))
    return found


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """The table; ValueError where it is no table of step times."""
    for name in ("configuration", "seconds"):
        if name not in table:
            raise ValueError(f"it is no table of step times: it has no column {name!r}")
    if not table["configuration"].map(lambda value: isinstance(value, str)).all():
        raise ValueError("it is no table of step times: a configuration is no text")
    seconds = table["seconds"]
    if seconds.dtype.kind not in "fiu" or not (np.isfinite(seconds) & (seconds > 0)).all():
        raise ValueError("it is no table of step times: the seconds are not numbers above zero")
    return table


def on_one_machine(times: Mapping[str, list[StepTime]], wanted: Iterable[str]) -> tuple[str, dict[str, float]]:
    """The machine with times of most wanted configurations, and by configuration its median seconds of a step."""
    chosen = {key: times.get(key, []) for key in wanted}
    count: dict[str, int] = {}
    for each in chosen.values():
        for time in each:
            count[time.machine] = count.get(time.machine, 0) + 1
    if not count:
        return "", {}
    machine = max(sorted(count), key=lambda name: count[name])
    return machine, {key: t.median for key, each in chosen.items() for t in each if t.machine == machine}
