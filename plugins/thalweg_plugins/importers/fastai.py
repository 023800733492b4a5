"""Reads what fastai's CSVLogger writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.epochs import going_on
from thalweg.foreign.tables import header_of, melted, numbers, table_of

_NAMES = ["epoch", "train_loss", "valid_loss"]


class Fastai(thalweg.Importer):
    """A file for each run, and a row for each epoch; epochs count from 0.

    A second ``fit`` that appends writes the header again, and its epochs go on from those before. Metrics without a
    split are of the validation data. ``train_loss`` is a running mean.
    """

    name = "fastai"
    summary = "history.csv of fastai's CSVLogger"
    source = "fastai 2.8, fastai.callback.progress.CSVLogger"

    def recognises(self, path: Path) -> bool:
        """Whether the columns begin with ``epoch, train_loss, valid_loss`` and end with ``time``."""
        names = header_of(path) if path.suffix == ".csv" else []
        return names[:3] == _NAMES and names[-1] == "time"

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        context.note("fastai: train_loss is a running mean over the last batches, while the weights change")
        for path in files:
            table = table_of(path)
            if "epoch" not in table.columns:
                raise UserError(f"{path}: has no column 'epoch', as tables of CSVLogger have")
            table = table[table["epoch"] != "epoch"].drop(columns="time", errors="ignore")
            epochs = numbers(path, table["epoch"], "epoch")
            own = [name for name in table.columns if name != "epoch"]
            table = table.assign(epoch=going_on(epochs, 0))
            run = melted(path, path.stem, table, "epoch", own)
            rows = run.rows.assign(key=[_named(key) for key in run.rows["key"]])
            yield replace(run, rows=rows, counts="epochs")


def _named(key: str) -> str:
    """The name of a quantity with its split: a metric is of the validation."""
    return key if key.startswith(("train_", "valid_")) else f"valid_{key}"
