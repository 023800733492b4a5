"""Reads the text that nanoGPT's training script prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.foreign.cells import number
from thalweg.foreign.files import head_of, lines_of
from thalweg.foreign.rows import Rows

_NUMBER = r"([-+]?[0-9.]+(?:e[-+]?[0-9]+)?|nan|-?inf)"
_EVALUATED = re.compile(rf"step (\d+): train loss {_NUMBER}, val loss {_NUMBER}")
_TRAINED = re.compile(rf"iter (\d+): loss {_NUMBER}, time {_NUMBER}ms")


class NanoGPT(thalweg.Importer):
    """A file for each run. A line "step" has the mean losses of an evaluation before that step, a line "iter" has the
    loss of one batch.

    Both count from 0 the steps that were done before. The training's loss is the one of the evaluations, where there
    are any.
    """

    name = "nanogpt"
    summary = "the text that nanoGPT's train.py prints"
    source = "karpathy/nanoGPT, train.py"

    def recognises(self, path: Path) -> bool:
        """Whether a text has one of the lines at its beginning."""
        if path.suffix not in (".txt", ".log", ".out", ""):
            return False
        head = head_of(path, 1 << 16)
        return bool(_EVALUATED.search(head) or _TRAINED.search(head))

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        for path in files:
            rows = Rows(str(path))
            for line in lines_of(path):
                if found := _EVALUATED.search(line):
                    rows.add(int(found[1]), "train/loss", number(found[2]))
                    rows.add(int(found[1]), "val/loss", number(found[3]))
                elif found := _TRAINED.search(line):
                    rows.add(int(found[1]), "batch", number(found[2]))
            table = rows.table()
            if not (table["key"] == "train/loss").any():
                context.note("nanoGPT: the loss is of single batches, since the file has no evaluations")
                table = table.assign(key="train/loss")
            yield ForeignRun(path.stem, path, table)
