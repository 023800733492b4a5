"""Reads the Parquet files of benchopt's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import plain
from thalweg.foreign.tables import ENDINGS, header_of, numbers, table_of

_NAMES = {"solver_name", "idx_rep", "objective_value", "time", "stop_val"}
_SETTINGS, _OBJECTIVE, _MEASURED = "p_solver_", "p_obj_", "objective_"


class Benchopt(thalweg.Importer):
    """A run for each data set, solver and repetition.

    Every row is a run of its own from the start up to ``stop_val``, so the points of a curve are independent runs.
    ``objective_value`` counts as the training's loss. A solver's own parameters are settings.
    """

    name = "benchopt"
    summary = "the Parquet or CSV file of benchopt's results"
    source = "benchopt 1.10, benchopt.runner"

    def recognises(self, path: Path) -> bool:
        """Whether a table has benchopt's columns."""
        return path.suffix in ENDINGS and set(header_of(path)) >= _NAMES

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """The curves of result files."""
        context.note("benchopt: each point of a curve is a run of its own from the start")
        context.note("benchopt: objective_value counts as the training's loss")
        for path in files:
            table = table_of(path)
            if lacking := sorted(_NAMES - set(table.columns)):
                raise UserError(f"{path}: has no column {lacking[0]!r}, as results of benchopt have")
            data = "dataset_name" if "dataset_name" in table.columns else "data_name"
            if data not in table.columns:
                raise UserError(f"{path}: has no column 'dataset_name', as results of benchopt have")
            about = [name for name in table.columns if name == "objective_name" or name.startswith(_OBJECTIVE)]
            for (workload, solver, seed, *objective), part in table.groupby(
                [data, "solver_name", "idx_rep", *about], sort=False, dropna=False
            ):
                names = zip(about, objective, strict=True)
                different = [str(one) for name, one in names if len(set(table[name].astype(str))) > 1]
                told = {
                    "workload": " ".join([str(workload), *different]),
                    "optimizer": str(solver).partition("[")[0],
                    "seed": seed,
                }
                yield ForeignRun(f"{solver} {seed}", path, _rows(path, part), {**told, **_settings(part)})


def _rows(path: Path, part: pd.DataFrame) -> pd.DataFrame:
    steps, seconds = numbers(path, part["stop_val"], "stop_val"), numbers(path, part["time"], "time")
    measured = [str(name) for name in part.columns if str(name).startswith(_MEASURED) and name != "objective_name"]
    parts = []
    for name in measured:
        try:
            values = numbers(path, part[name], name)
        except UserError:
            continue  # a text about the objective
        key = "train/loss" if name == "objective_value" else name
        parts.append(pd.DataFrame({"step": steps, "key": key, "value": values, "seconds": seconds}))
    return pd.concat(parts, ignore_index=True)


def _settings(part: pd.DataFrame) -> dict[str, Any]:
    first = {str(name): value for name, value in part.iloc[0].items() if str(name).startswith(_SETTINGS)}
    told = {name.removeprefix(_SETTINGS): plain(value) for name, value in first.items()}
    return {name: value for name, value in told.items() if value is not None and value == value}
