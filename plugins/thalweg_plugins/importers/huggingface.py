"""Reads the ``trainer_state.json`` of Hugging Face's Trainer."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import is_number
from thalweg.foreign.files import head_of, table_of
from thalweg.foreign.rows import Rows

_NO_METRIC = ("step", "epoch", "total_flos")


class HuggingFace(thalweg.Importer):
    """A folder for each run; of its checkpoints the one with the most steps counts, since it has all entries before.

    ``loss`` is the mean since the entry before. The Trainer writes a loss of nan as 0.0, unless
    ``logging_nan_inf_filter`` is off: a loss of exactly 0 was nan where the gradient's norm or the next evaluation's
    loss is no number. Seed and rate are in a pickle, which nothing here reads.
    """

    name = "hf"
    summary = "trainer_state.json of Hugging Face's Trainer"
    source = "transformers 5.24, transformers.TrainerState"

    def recognises(self, path: Path) -> bool:
        """Whether the file is ``trainer_state.json``."""
        return path.name == "trainer_state.json" and head_of(path, 64).lstrip().startswith("{")

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each folder."""
        context.note("Trainer: loss is the mean since the entry before, while the weights change")
        context.note("Trainer: the files say no optimizer and no seed: --paths or --set gives them")
        for path, state in _last(files):
            entries = [one for one in state["log_history"] if isinstance(one, dict)]
            rows = Rows(str(path))
            lost = _lost(entries)
            for index, entry in enumerate(entries):
                _add(rows, entry, index in lost)
            if lost:
                context.note("Trainer: losses of 0.0 were nan (logging_nan_inf_filter), as norms or evaluations tell")
            if not any("loss" in entry for entry in entries):
                context.note("Trainer: a run without rows of the training: it ended before logging_steps")
            yield ForeignRun(_folder(path).name, path, rows.table(), {})


def _folder(path: Path) -> Path:
    """The folder of a run; checkpoints are folders in it."""
    parent = path.parent
    return parent.parent if parent.name.startswith("checkpoint-") else parent


def _last(files: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """The state with the most steps of each run."""
    groups: dict[Path, list[tuple[int, Path, dict[str, Any]]]] = defaultdict(list)
    for path in files:
        state = table_of(path)
        if not isinstance(state.get("log_history"), list):
            raise UserError(f"{path}: has no log_history, as states of Trainer have")
        steps = state.get("global_step")
        groups[_folder(path)].append((steps if isinstance(steps, int) else 0, path, state))
    return [max(states, key=lambda one: (one[0], -len(one[1].parts)))[1:] for states in groups.values()]


def _lost(entries: list[dict[str, Any]]) -> set[int]:
    """The entries whose loss of 0.0 was nan.

    A gradient's norm or an evaluation's loss that is no number says so of every zero after it, and an evaluation also
    of those since the evaluation before. Where no evaluation follows, zeros at the end were nan if a loss was above 0.
    """
    zeros = [index for index, entry in enumerate(entries) if entry.get("loss") == 0.0]
    evaluated = [index for index, entry in enumerate(entries) if _evaluations(entry)]
    badly = [index for index in evaluated if any(map(_no_number, _evaluations(entries[index])))]
    begins = [index for index in zeros if _no_number(entries[index].get("grad_norm"))]
    if badly:
        place = evaluated.index(badly[0])
        begins.append(evaluated[place - 1] if place else -1)
    last = max(evaluated, default=-1)
    later = [index for index, entry in enumerate(entries) if "loss" in entry and index > last]
    end = list(takewhile(lambda index: entries[index]["loss"] == 0.0, reversed(later)))
    if end and any(is_number(entry.get("loss")) and entry["loss"] > 0 for entry in entries):
        begins.append(end[-1])
    first = min(begins, default=len(entries))
    found, wrong = set(), set(badly)
    for index in zeros:
        place = bisect_right(evaluated, index)
        after = evaluated[place] if place < len(evaluated) else None
        sound = after is not None and after not in wrong and not _no_number(entries[index].get("grad_norm"))
        if index >= first and not sound:
            found.add(index)
    return found


def _evaluations(entry: dict[str, Any]) -> list[Any]:
    return [one for name, one in entry.items() if name.startswith("eval_") and name.endswith("loss")]


def _no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _add(rows: Rows, entry: dict[str, Any], lost: bool) -> None:
    """The rows of an entry; the last one, a summary of the whole training, has none."""
    step = entry.get("step")
    if not isinstance(step, int) or "train_runtime" in entry:
        return
    epoch = entry.get("epoch")
    costs = {"epoch": float(epoch)} if is_number(epoch) else {}
    for name, value in entry.items():
        if name not in _NO_METRIC and is_number(value):
            rows.add(step, name, math.nan if lost and name == "loss" else float(value), **costs)
