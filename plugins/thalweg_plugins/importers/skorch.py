"""Reads the ``history.json`` that skorch saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import is_number
from thalweg.foreign.epochs import going_on
from thalweg.foreign.files import head_of, json_of
from thalweg.foreign.rows import Rows

_NO_METRIC = ("epoch", "batches", "dur")


class Skorch(thalweg.Importer):
    """A file for each run, and an entry for each epoch; epochs count from 1, and a second fit counts anew."""

    name = "skorch"
    summary = "history.json of skorch"
    source = "skorch 1.4, skorch.history.History.to_file"

    def recognises(self, path: Path) -> bool:
        """Whether the file is a JSON list whose first entry has ``batches`` and ``epoch``."""
        if path.suffix != ".json":
            return False
        head = head_of(path)
        return head.startswith("[{") and '"batches"' in head

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        for path in files:
            found = json_of(path)
            entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
            if not entries or not all(isinstance(one.get("epoch"), int) for one in entries):
                raise UserError(f"{path}: is no list of epochs, as histories of skorch are")
            epochs = going_on(pd.Series([float(one["epoch"]) for one in entries]), 1)
            rows = Rows(str(path))
            for epoch, entry in zip(epochs, entries, strict=True):
                for name, value in entry.items():
                    if name not in _NO_METRIC and not name.endswith(("_best", "_count")) and is_number(value):
                        # a score is of the validation data, unless its name says the training
                        rows.add(epoch, name if name.startswith(("train_", "valid_")) else f"valid_{name}", value)
            yield ForeignRun(path.stem, path, rows.table(), counts="epochs")
