"""Reads the ``summary.csv`` of timm's training script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import flat, is_number, plain
from thalweg.foreign.files import head_of, lines_of, yaml_of
from thalweg.foreign.rows import Rows

_EVALUATION = ("eval_loss", "eval_top1", "eval_top5")


class Timm(thalweg.Importer):
    """A folder for each run, a row for each epoch; epochs count from 0.

    Rows are taken by the header before them: a resumed training writes its header in the middle. The header has the
    names of the first epoch. So a row of an epoch without evaluation may have fewer cells, the rate under the name of
    an evaluation, and then the training's loss alone counts; or a row with evaluation may have three more.
    Accuracies, which timm writes in per cent, become shares of one.
    """

    name = "timm"
    summary = "summary.csv and args.yaml of timm's train.py"
    source = "timm 1.0, timm.utils.update_summary"
    packages = ("PyYAML",)
    install = "thalweg[import]"

    def recognises(self, path: Path) -> bool:
        """Whether the file is ``summary.csv`` with ``epoch, train_loss``."""
        return path.name == "summary.csv" and head_of(path).startswith("epoch,train_")

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        for path in files:
            arguments = path.parent / "args.yaml"
            parameters = flat(yaml_of(arguments)) if arguments.is_file() else {}
            run = ForeignRun(path.parent.name, path, _rows(path, context).table(), _renamed(parameters))
            yield replace(run, counts="epochs")


def _rows(path: Path, context: ImportContext) -> Rows:
    rows, header = Rows(str(path)), list[str]()
    for number, line in enumerate(lines_of(path), 1):
        cells = line.split(",")
        if cells[0] == "epoch":
            header = cells
            continue
        if not line.strip():
            continue
        epoch = plain(cells[0])
        if not header or not isinstance(epoch, int):
            raise UserError(f"{path}: line {number}: has no epoch under a header, as rows of summary.csv have")
        if len(cells) == len(header) + len(_EVALUATION):
            context.note("timm: rows with an evaluation under a header without one: loss, top1 and top5 in this order")
            names = [*header[:-1], *_EVALUATION, header[-1]]
        else:
            names = header
        short = len(cells) < len(header)
        if short:
            context.note("timm: rows of epochs without evaluation have fewer cells: their rate and evaluation are none")
        for name, cell in list(zip(names, cells, strict=False))[1:]:
            value = plain(cell)
            if cell and is_number(value) and name != "lr" and not (short and name.startswith("eval")):
                rows.add(epoch + 1, name, value / 100 if "_top" in name else value)
    return rows


def _renamed(arguments: dict[str, Any]) -> dict[str, Any]:
    """``opt`` is what timm calls the optimizer."""
    found = {"optimizer" if name == "opt" else name: value for name, value in arguments.items()}
    return {name: value for name, value in found.items() if name not in ("experiment", "output")}
