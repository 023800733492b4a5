"""Writes results into one file for other programs: Parquet, CSV or a DuckDB database."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from thalweg.benchmark_file import TUNING_SEED
from thalweg.store.columns import CURVES, UNREADABLE, curve_of, why
from thalweg.store.overlay import NOTHING, Laid, place_of
from thalweg.store.sheets import to_csv
from thalweg.store.tables import read_table
from thalweg.store.trials import StoredTrial, Unreadable

FORMATS = (".parquet", ".csv", ".duckdb")
_TRIAL = ("benchmark", "hash", "workload", "optimizer", "seed", "status", "reason")

_SETTINGS = ("budget", "batch_size", "schedule", "clip_norm", "coupled_weight_decay", "decoupled_weight_decay")
"""Fields of a trial that a curve's rows have besides hyperparameters, where a trial sets them."""


def trials_table(stored: Sequence[tuple[str, StoredTrial]]) -> pd.DataFrame:
    """One row a trial: its settings, its outcome and where it ran. Nested values are JSON."""
    rows = []
    for benchmark, trial in stored:
        document = trial.document
        rows.append(
            {
                "benchmark": benchmark,
                "hash": document.hash,
                "workload": document.workload,
                "optimizer": document.optimizer,
                "seed": document.trial.seed,
                "status": document.status,
                "reason": document.reason,
                "step": document.summary.get("step"),
                "seconds": document.summary.get("seconds"),
                "parameters": document.summary.get("parameters"),
                "options": json.dumps(document.options),
                "trial": json.dumps(document.trial.model_dump(mode="json", exclude_defaults=True)),
                "summary": json.dumps(document.summary),
                "environment": json.dumps(document.environment),
            }
        )
    return pd.DataFrame(rows)


def _named(stored: Sequence[tuple[str, StoredTrial]]) -> list[dict[str, Any]]:
    """The columns that name a trial."""
    table = trials_table(stored)
    return [{name: table[name].iloc[row] for name in _TRIAL} for row in range(len(table))]


METRICS = ("better", "ranks", "target")
"""Columns about a row's metric: its direction, whether it ranks the workload, and its value to reach."""


@dataclass(frozen=True)
class Besides:
    """What an export has besides the files of trials."""

    trials: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Further columns of a trial's rows, by benchmark and hash."""
    metrics: Mapping[tuple[str, str, str], tuple[str, bool, float]] = field(default_factory=dict)
    """The values of METRICS, by benchmark, workload and metric."""
    laid: Mapping[str, Laid] = field(default_factory=dict)
    """What was measured here of packed trials, by benchmark."""


def settings_of(trial: StoredTrial) -> dict[str, Any]:
    """The hyperparameters that a trial sets, and further settings; a name that a curve has gets a prefix."""
    asked = trial.document.trial.model_dump(mode="json", exclude_defaults=True)
    further = {name: asked[name] for name in _SETTINGS if name in asked}
    found = {**asked["optimizer"].get("options", {}), **further}
    if asked["seed"] >= TUNING_SEED:
        found["tuning"] = True
    taken = {*_TRIAL, *CURVES.names}
    return {
        f"set_{name}" if name in taken else name: value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in found.items()
    }


def curves_table(
    stored: Sequence[tuple[str, StoredTrial]],
    unread: list[Unreadable],
    besides: Besides | None = None,
) -> pd.DataFrame:
    """The rows of all curves, each with its trial and its settings: a tidy table that ``import-curves`` reads.

    A trial without a curve has one row without numbers.

    ``unread`` gets the curves that cannot be read. ``besides`` has further columns.
    """
    besides = besides or Besides()
    parts = []
    for (benchmark, trial), row in zip(stored, _named(stored), strict=True):
        try:
            curve: pd.DataFrame = curve_of(trial).cast(CURVES).to_pandas()
        except UNREADABLE as error:
            unread.append(Unreadable(trial.path / "curve.parquet", why(error)))
            curve = pd.DataFrame()
        if curve.empty:
            curve = pd.DataFrame(index=[0])
        further = besides.trials.get((benchmark, trial.document.hash), {})
        parts.append(curve.assign(**row, **{**settings_of(trial), **further}))
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    if besides.metrics:
        keys = zip(table["benchmark"], table["workload"], table["metric"].astype(object), strict=True)
        told = [besides.metrics.get(key, ("", False, float("nan"))) for key in keys]
        table[list(METRICS)] = pd.DataFrame(told, columns=list(METRICS), index=table.index)
    return table[[*_TRIAL, *(column for column in table if column not in _TRIAL)]]


def probes_tables(
    stored: Sequence[tuple[str, StoredTrial]], unread: list[Unreadable], besides: Besides | None = None
) -> dict[str, pd.DataFrame]:
    """By probe the rows of its tables, each with its trial, and with its settings as JSON.

    ``unread`` gets the tables that cannot be read. ``besides`` has tables that were measured here of packed trials; if
    there are any, a column ``measured_here`` tells them apart.
    """
    laid = (besides or Besides()).laid
    found: dict[str, list[pd.DataFrame]] = {}
    for (benchmark, trial), row in zip(stored, _named(stored), strict=True):
        hash_, over = trial.document.hash, laid.get(benchmark, NOTHING)
        own = [(key, probe, trial.files) for key, probe in trial.document.probes.items()]
        here = [(key, probe, over.files[hash_]) for key, probe in over.probes.get(hash_, {}).items()]
        for number, (key, probe, files) in enumerate([*own, *here]):
            file = place_of(key)
            if probe.status != "done":
                continue
            named = {f"trial_{name}": value for name, value in row.items()}
            if laid:
                named["measured_here"] = number >= len(own)
            settings = json.dumps(probe.request.probe.options)
            try:
                table = read_table(files, file).assign(**named, settings=settings)
            except (OSError, ValueError) as error:
                unread.append(Unreadable(files.path / file, why(error)))
            else:
                found.setdefault(probe.request.probe.name, []).append(table)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def export(
    stored: Sequence[tuple[str, StoredTrial]],
    out: Path,
    raw: bool = False,
    besides: Besides | None = None,
) -> list[Unreadable]:
    """Write trials into one file, which replaces an older one when it is complete; gives what could not be read.

    The name's ending chooses the format. Parquet and CSV hold the curves. A DuckDB file holds ``trials``, ``curves``
    and one table ``probe_NAME`` a probe. With ``raw`` texts in CSV stay unchanged, see ``thalweg.store.sheets``.
    """
    unread: list[Unreadable] = []
    partial = out.with_name(f".{out.name}.partial")
    partial.unlink(missing_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        if out.suffix == ".parquet":
            curves_table(stored, unread, besides).to_parquet(partial, index=False)
        elif out.suffix == ".csv":
            to_csv(curves_table(stored, unread, besides), partial, raw)
        else:
            _to_duckdb(stored, partial, unread, besides)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return unread


def _to_duckdb(
    stored: Sequence[tuple[str, StoredTrial]],
    path: Path,
    unread: list[Unreadable],
    besides: Besides | None,
) -> None:
    import duckdb

    tables = {"trials": trials_table(stored), "curves": curves_table(stored, unread, besides)}
    taken = {"trials", "curves"}
    for name, table in probes_tables(stored, unread, besides).items():
        tables[_free(f"probe_{name}", taken)] = table
    with duckdb.connect(str(path)) as connection:
        for name, table in tables.items():
            connection.register("rows", _typed(table))
            quoted = name.replace('"', '""')  # a name from results is no SQL
            connection.execute(f'CREATE TABLE "{quoted}" AS SELECT * FROM rows')
            connection.unregister("rows")


def _typed(table: pd.DataFrame) -> pa.Table:
    """The table with one type a column: a column of several types becomes texts."""
    columns = {}
    for name in table:
        try:
            columns[str(name)] = pa.array(table[name], from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            columns[str(name)] = pa.array([None if value is None else str(value) for value in table[name]], pa.string())
    return pa.table(columns)


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where ``taken`` has the name, which ignores case; ``taken`` gets the result."""
    numbered = (name if number == 1 else f"{name} {number}" for number in itertools.count(1))
    free = next(one for one in numbered if one.lower() not in taken)
    taken.add(free.lower())
    return free
