"""Reads what Keras' CSVLogger writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.epochs import going_on
from thalweg.foreign.tables import header_of, melted, numbers, table_of

_VALIDATION = re.compile(r"val_(.+)")


class Keras(thalweg.Importer):
    """A file for each run, and a row for each epoch.

    Epochs count from 0. ``NA`` was not evaluated, ``nan`` was. A training that appends to the file begins with epoch 0
    again, and its epochs go on from those before.
    """

    name = "keras"
    summary = "the table of Keras' CSVLogger"
    source = "keras 3.15, keras.callbacks.CSVLogger"

    def recognises(self, path: Path) -> bool:
        """Whether the first column is ``epoch``, and every ``val_`` column has its partner."""
        if path.suffix not in (".csv", ".tsv", ".log"):
            return False
        first, *names = header_of(path)
        validation = {found[1] for name in names if (found := _VALIDATION.fullmatch(name))}
        return first == "epoch" and "loss" in names and bool(validation) and validation <= set(names)

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        context.note("Keras: loss and metrics of the training are means over an epoch, while the weights change")
        for path in files:
            table = table_of(path)
            if "epoch" not in table.columns:
                raise UserError(f"{path}: has no column 'epoch', as tables of CSVLogger have")
            epochs = numbers(path, table["epoch"], "epoch")
            if (epochs.diff() <= 0).any():
                context.note("Keras: epochs that begin again go on from those before, as after a second fit")
            table = table.assign(epoch=going_on(epochs, 0))
            own = [name for name in table.columns if name != "epoch"]
            run = melted(path, path.stem, table, "epoch", own)
            yield replace(run, counts="epochs")
