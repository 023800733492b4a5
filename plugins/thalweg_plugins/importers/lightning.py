"""Reads what Lightning's CSVLogger writes: ``metrics.csv`` beside ``hparams.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import flat
from thalweg.foreign.files import yaml_of
from thalweg.foreign.tables import header_of, melted, table_of


class Lightning(thalweg.Importer):
    """A folder for each run, with up to three rows a step.

    ``step`` counts from 0 the batch after which a row was written, so the value is of one step more. An empty cell was
    not measured; ``nan`` was.
    """

    name = "lightning"
    summary = "metrics.csv and hparams.yaml of Lightning's CSVLogger"
    source = "lightning 2.6, lightning.pytorch.loggers.CSVLogger"
    packages = ("PyYAML",)
    install = "thalweg[import]"

    def recognises(self, path: Path) -> bool:
        """Whether the file is ``metrics.csv`` with columns ``epoch`` and ``step``, beside ``hparams.yaml``."""
        if path.name != "metrics.csv":
            return False
        return (path.parent / "hparams.yaml").is_file() and {"epoch", "step"} <= set(header_of(path))

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        for path in files:
            count = context.step or "step"
            table = table_of(path)
            if count not in table.columns:
                raise UserError(f"{path}: has no column {count!r}, as metrics.csv of CSVLogger has")
            own = [name for name in table.columns if name not in ("epoch", count)]
            run = melted(path, path.parent.name, table.drop(columns="epoch", errors="ignore"), count, own)
            rows = run.rows.assign(step=run.rows["step"] + 1)
            yield replace(run, rows=rows, parameters=_parameters(path.parent / "hparams.yaml"))


def _parameters(path: Path) -> dict[str, object]:
    return flat(yaml_of(path)) if path.is_file() else {}
