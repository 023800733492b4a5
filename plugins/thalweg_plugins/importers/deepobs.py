"""Reads the JSON files that DeepOBS' runners write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import number
from thalweg.foreign.files import head_of, table_of
from thalweg.foreign.rows import Rows

_LISTS = {
    f"{split}_{many}": f"{split}/{metric}"
    for split in ("train", "valid", "test")
    for many, metric in (("losses", "loss"), ("accuracies", "accuracy"))
}


class DeepOBS(thalweg.Importer):
    """A file for each run, with lists of one value more than epochs: the first one is of the start.

    DeepOBS drops all accuracies of a run where one of them is 0; such a run has losses alone. It fills the lists of a
    run that diverged with the values of the start; a loss of nan among those of mini-batches tells.
    """

    name = "deepobs"
    summary = "the JSON files of DeepOBS' runners"
    source = "deepobs 1.1, deepobs.pytorch.runners.StandardRunner"

    def recognises(self, path: Path) -> bool:
        """Whether the file is a JSON object with ``testproblem`` and lists of losses."""
        if path.suffix != ".json" or '"' not in head_of(path, 64):
            return False
        try:
            found = table_of(path)
        except UserError:
            return False
        return "testproblem" in found and "train_losses" in found

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each file."""
        for path in files:
            found = table_of(path)
            rows = Rows(str(path))
            lists = {key: found[name] for name, key in _LISTS.items() if isinstance(found.get(name), list)}
            batches = found.get("minibatch_train_losses")
            lost = isinstance(batches, list) and any(one != one for one in batches)
            filled = _filled(lists) if lost else 0
            for key, values in lists.items():
                for epoch, value in enumerate(values[: len(values) - filled]):
                    rows.add(epoch, key, number(value))
            if "test_accuracies" not in found:
                context.note("DeepOBS: a run without accuracies: DeepOBS drops them all where one of them is 0")
            ended: Any = "diverged" if lost else ""
            reason = "a mini-batch's loss is nan; DeepOBS fills the epochs after it with values of the start"
            told = _parameters(found)
            yield ForeignRun(path.stem, path, rows.table(), told, ended, reason if lost else "", "epochs")


def _filled(lists: dict[str, list[Any]]) -> int:
    """The epochs at the end that have the values of the start in all lists."""
    most = min((len(values) for values in lists.values()), default=1) - 1
    return next((n for n in range(most) if any(values[-1 - n] != values[0] for values in lists.values())), most)


def _parameters(found: dict[str, Any]) -> dict[str, Any]:
    named = {"workload": "testproblem", "optimizer": "optimizer_name", "seed": "random_seed"}
    parameters = {name: found[key] for name, key in named.items() if key in found}
    hyper = found.get("optimizer_hyperparams")
    parameters |= hyper if isinstance(hyper, dict) else {}
    parameters |= {key: found[key] for key in ("batch_size", "num_epochs", "weight_decay") if key in found}
    return {key: one for key, one in parameters.items() if isinstance(one, str | int | float | bool)}
