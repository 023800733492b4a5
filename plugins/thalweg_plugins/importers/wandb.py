"""Reads W&B's offline runs, and the tables that its web page exports."""

from __future__ import annotations

import json
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import flat, is_number, number
from thalweg.foreign.files import head_of
from thalweg.foreign.rows import Rows
from thalweg.foreign.tables import header_of, missing, numbers, table_of
from thalweg.limits import LINE_BYTES

_HEADER = b":W&B"
_HEADER_BYTES, _BLOCK, _RECORD_HEAD = 7, 32768, 7
_HISTORY, _CONFIG, _RUN = 2, 5, 17
"""Fields of a record: a call of ``log``, settings, the run."""


class WandB(thalweg.Importer):
    """A ``.wandb`` file for each run, or a CSV file that the web page exports.

    A project is a workload, and all charts of a run from the web page are one run. ``_step`` counts calls of ``log``:
    where training and validation are logged by calls of their own, their steps differ. ``--map step=KEY`` names a
    logged value that counts the optimization's steps.
    """

    name = "wandb"
    summary = "W&B's offline files (.wandb), and the CSV files of its web page"
    source = "wandb 0.31, wandb_internal.proto; in records of LevelDB's log format"

    def recognises(self, path: Path) -> bool:
        """Whether the file begins as W&B's do, or its columns are named as those of the web page."""
        if path.suffix == ".wandb":
            return head_of(path, 4).encode() == _HEADER
        return path.suffix == ".csv" and _exported(header_of(path))

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """The runs of files."""
        tables: dict[str, list[ForeignRun]] = defaultdict(list)
        for path in files:
            if path.suffix == ".csv":
                for run in _of_table(path, context):
                    tables[run.name].append(run)
            else:
                yield _of_file(path, context)
        # each chart of the web page is a file of its own
        for parts in tables.values():
            yield replace(parts[0], rows=pd.concat([part.rows for part in parts], ignore_index=True))


def _exported(names: Sequence[str]) -> bool:
    return len(names) > 1 and all(" - " in name for name in names[1:]) and any("__MAX" in name for name in names)


def _of_table(path: Path, context: ImportContext) -> Iterator[ForeignRun]:
    """A run for each name before `` - ``; ``__MIN`` and ``__MAX`` are of the values that the page pooled."""
    table = table_of(path)
    count = context.step or str(table.columns[0])
    runs: dict[str, Rows] = {}
    for name in table.columns:
        run, dash, key = str(name).rpartition(" - ")
        if not dash or key.endswith(("__MIN", "__MAX")):
            continue
        there = ~missing(table[name])
        steps, values = numbers(path, table.loc[there, count], count), numbers(path, table.loc[there, name], str(name))
        rows = runs.setdefault(run, Rows(str(path)))
        for step, value in zip(steps, values, strict=True):
            rows.add(step, key, value)
    for run, rows in runs.items():
        yield ForeignRun(run, path, rows.table(), {"run": run})


@dataclass
class _Run:
    """What the records of a file say."""

    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def _of_file(path: Path, context: ImportContext) -> ForeignRun:
    found = _Run()
    try:
        for record in _records(path):
            _take(found, record)
    except (OSError, ValueError, IndexError, struct.error, RecursionError) as error:
        raise UserError(f"{path}: is damaged: {error}") from error
    count = context.step or "_step"
    if context.step and not any(context.step in entry for entry in found.history):
        raise UserError(f"{path}: --map step: no entry has {context.step!r}")
    if not context.step:
        context.note("W&B: steps are calls of log: --map step=KEY names what counts the optimization's steps")
    rows = Rows(str(path))
    step: float | None = None
    for entry in found.history:
        told = flat(entry)
        step = number(told[count]) if count in told else step
        if step is None:
            continue
        for key, value in told.items():
            if key != count and not key.startswith("_") and _is_number(value):
                rows.add(step, key, number(value))
    return ForeignRun(found.name or path.stem, path, rows.table(), flat(found.settings))


def _is_number(value: Any) -> bool:
    """W&B writes nan and infinity as texts."""
    if isinstance(value, str):
        return value in ("NaN", "Infinity", "-Infinity")
    return is_number(value)


def _records(path: Path) -> Iterator[bytes]:
    """The records of LevelDB's log: blocks of 32 KiB, whose pieces have a checksum, a length and a type."""
    with path.open("rb") as file:
        if file.read(_HEADER_BYTES)[:4] != _HEADER:
            raise ValueError("it does not begin as files of W&B do")
        place, whole = _HEADER_BYTES, b""
        while True:
            rest = _BLOCK - place % _BLOCK
            if rest < _RECORD_HEAD:
                file.read(rest)
                place += rest
            head = file.read(_RECORD_HEAD)
            if len(head) < _RECORD_HEAD:
                return
            length, kind = struct.unpack("<HB", head[4:])
            piece = file.read(length)
            place += _RECORD_HEAD + length
            if len(piece) < length:
                return  # a kill cut the last record off
            if kind == 0:
                continue
            (checksum,) = struct.unpack("<I", head[:4])
            if zlib.crc32(bytes([kind]) + piece) != checksum:
                raise ValueError("the checksum of a record is another one")
            whole = piece if kind in (1, 2) else whole + piece
            if len(whole) > 10 * LINE_BYTES.value:
                raise ValueError("a record is too long")
            if kind in (1, 4):
                yield whole


def _take(run: _Run, record: bytes) -> None:
    for number_, value in _fields(record):
        if number_ == _HISTORY:
            items = [_item(one) for field_, one in _fields(value) if field_ == 1]
            run.history.append(_nested(items))
        elif number_ == _CONFIG:
            run.settings.update(_settings(value))
        elif number_ == _RUN:
            for field_, one in _fields(value):
                if field_ == 4:
                    run.settings.update(_settings(one))
                elif field_ == 3 and one:
                    run.settings.setdefault("workload", one.decode("utf-8", errors="replace"))
                elif field_ == 8:
                    run.name = one.decode("utf-8", errors="replace")


def _settings(config: bytes) -> dict[str, Any]:
    found = _nested([_item(one) for field_, one in _fields(config) if field_ == 1])
    return {key: value for key, value in found.items() if not key.startswith("_")}


def _item(item: bytes) -> tuple[list[str], Any]:
    """The path of a key, and its value, which is JSON."""
    path: list[str] = []
    value: Any = None
    for number_, one in _fields(item):
        if number_ in (1, 2):
            path.append(one.decode("utf-8", errors="replace"))
        elif number_ == 16:
            value = json.loads(one)
    return path, value


def _nested(items: list[tuple[list[str], Any]]) -> dict[str, Any]:
    return {".".join(path): value for path, value in items if path}


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message that are texts or messages."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            _, place = _varint(message, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            length, place = _varint(message, place)
            if place + length > len(message):
                raise ValueError("a record is longer than it says")
            yield key >> 3, message[place : place + length]
            place += length
        else:
            raise ValueError("a record has a field of an unknown kind")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
