"""Reads the Parquet files of benchopt's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.tables import ENDINGS, header_of, numbers, table_of

_NAMES = {"solver_name", "data_name", "idx_rep", "objective_value", "time", "stop_val"}


class Benchopt(thalweg.Importer):
    """A run for each data set, solver and repetition.

    Every row is a run of its own from the start up to ``stop_val``, so the points of a curve are independent runs.
    ``objective_value`` counts as the training's loss.
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
            for (data, solver, seed), part in table.groupby(["data_name", "solver_name", "idx_rep"], sort=False):
                rows = pd.DataFrame(
                    {
                        "step": numbers(path, part["stop_val"], "stop_val"),
                        "key": "train/loss",
                        "value": numbers(path, part["objective_value"], "objective_value"),
                        "seconds": numbers(path, part["time"], "time"),
                    }
                ).reset_index(drop=True)
                told: dict[str, Any] = {"workload": data, "optimizer": solver, "seed": seed}
                yield ForeignRun(f"{solver}-{seed}", path, rows, told)
