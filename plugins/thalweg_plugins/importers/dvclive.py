"""Reads what DVCLive writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

import thalweg
from thalweg.contracts.importer import ForeignRun, ImportContext
from thalweg.errors import UserError
from thalweg.foreign.cells import flat
from thalweg.foreign.files import yaml_of
from thalweg.foreign.tables import numbers, table_of

_PLACE = ("plots", "metrics")


class DVCLive(thalweg.Importer):
    """A folder for each run, with a table for each metric.

    Steps 0, 1, 2, … are calls of ``next_step``, and are counted from 1 here; other steps are the user's own. The
    table's path below ``plots/metrics`` is the metric's name; its header has the last part of the name alone.
    """

    name = "dvclive"
    summary = "plots/metrics and params.yaml of DVCLive"
    source = "dvclive 3.49, dvclive.plots.metric.Metric"
    packages = ("PyYAML",)
    install = "thalweg[import]"

    def recognises(self, path: Path) -> bool:
        """Whether the file is a table below ``plots/metrics``."""
        return path.suffix == ".tsv" and _root(path) is not None

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """A run for each folder."""
        runs: dict[Path, list[Path]] = defaultdict(list)
        for path in files:
            root = _root(path)
            if root is None:
                raise UserError(f"{path}: lies in no folder plots/metrics, as tables of DVCLive do")
            runs[root].append(path)
        for root, tables in runs.items():
            rows = pd.concat([_table(root, path) for path in tables], ignore_index=True)
            steps = sorted(rows["step"].unique())
            calls = len(steps) > 1 and steps == list(range(len(steps)))
            if calls:
                context.note("DVCLive: steps 0, 1, 2, … are calls of next_step, and are counted from 1")
                rows = rows.assign(step=rows["step"] + 1)
            settings = root / "params.yaml"
            parameters = flat(yaml_of(settings)) if settings.is_file() else {}
            # DVCLive's own folder has the name dvclive, unless the user gave another one
            name = root.parent.name if root.name == "dvclive" else root.name
            yield ForeignRun(name, root, rows, parameters, counts="epochs" if calls else "steps")


def _root(path: Path) -> Path | None:
    """The run's folder: the one with ``plots/metrics``."""
    for folder in path.parents:
        if folder.parts[-2:] == _PLACE:
            return folder.parents[1]
    return None


def _table(root: Path, path: Path) -> pd.DataFrame:
    table = table_of(path)
    if "step" not in table.columns or len(table.columns) < 2:
        raise UserError(f"{path}: has no columns 'step' and another one, as tables of DVCLive have")
    key = path.relative_to(root.joinpath(*_PLACE)).with_suffix("").as_posix()
    value = next(name for name in table.columns[::-1] if name not in ("step", "timestamp"))
    return pd.DataFrame(
        {"step": numbers(path, table["step"], "step"), "key": key, "value": numbers(path, table[value], value)}
    )
