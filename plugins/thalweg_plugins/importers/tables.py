"""Reads CSV and Parquet: tidy tables, one value a row, and wide ones, one column for each quantity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import thalweg
from thalweg.contracts.importer import COSTS, ForeignRun, ImportContext
from thalweg.errors import UserError, unknown
from thalweg.foreign.cells import is_number, plain
from thalweg.foreign.keys import guessed
from thalweg.foreign.tables import ENDINGS, codes_of, header_of, melted, missing, numbers, table_of

TIDY = ("step", "split", "metric", "value")
"""A table with these columns is tidy."""

NAMING = ("workload", "optimizer", "seed", "run", "hash")
"""Columns that tell runs apart, besides hyperparameters."""

SAYS = ("benchmark", "status", "reason")
"""Columns that say something of a run, and do not tell it from others."""

METRICS = ("better", "ranks", "target")
"""Columns of exports that say something of a metric: its direction, whether it ranks, and a value to reach."""

STEPS = ("step", "steps", "iteration", "iter", "global_step", "_step", "epoch", "epochs")
"""Columns of a wide table that count, the first that is there."""


class Tables(thalweg.Importer):
    """Tables that any program writes.

    A tidy table has ``step, split, metric, value``; ``workload``, ``optimizer``, ``seed``, ``run``, ``hash`` and
    further columns tell runs apart, and ``status`` and ``reason`` say how they ended. Any other table has a column for
    each quantity, and is one run where none of these columns tells several apart.
    """

    name = "csv"
    summary = "CSV, TSV and Parquet tables of any program: one value a row, or a column for each quantity"
    source = "docs/import.md"
    general = True

    def recognises(self, path: Path) -> bool:
        """Whether the file's name ends as tables' names do."""
        return path.suffix in ENDINGS

    def read(self, files: Sequence[Path], context: ImportContext) -> Iterator[ForeignRun]:
        """The runs of tables."""
        for path in files:
            yield from _runs_of(path, context)


def _runs_of(path: Path, context: ImportContext) -> Iterator[ForeignRun]:
    tidy = set(TIDY) <= {name.lower() for name in header_of(path)}
    table = table_of(path, kept=("value",) if tidy else ())
    own = {name.lower() for name in (*TIDY, *NAMING, *COSTS, *SAYS)}
    table.columns = pd.Index([name.lower() if name.lower() in own else name for name in table.columns])
    if len(set(table.columns)) < len(table.columns):
        raise UserError(f"{path}: has two columns of one name")
    step = context.step
    if step and step not in table.columns:
        raise UserError(f"{path}: --map step: {unknown('column', step, map(str, table.columns))}")
    if step:
        table = table.rename(columns={step: "step"})
    if set(TIDY) <= set(table.columns):
        yield from _tidy(path, table, context)
    else:
        yield from _wide(path, table, context)


def _tidy(path: Path, table: pd.DataFrame, context: ImportContext) -> Iterator[ForeignRun]:
    if set(METRICS) <= set(table.columns):
        _tell(table, context)
        table = table.drop(columns=list(METRICS))
    kept = ~(missing(table["metric"]) | missing(table["step"]) | missing(table["value"]))
    naming = _naming(table, kept, context)
    group = _groups(table, naming)
    # groups are numbered in the order of their first rows
    first = np.flatnonzero(np.diff(np.maximum.accumulate(group), prepend=-1))
    told = table.iloc[first][[*naming, *(name for name in SAYS if name in table)]].to_dict("records")
    if not kept.all():
        table, group = table[kept], group[kept]
    rows = pd.DataFrame(
        {
            "step": numbers(path, table["step"], "step"),
            "key": _pairs(path, table),
            "value": numbers(path, table["value"], "value"),
            **{name: numbers(path, table[name], name) for name in COSTS if name in table},
        }
    )
    if (group[1:] < group[:-1]).any():
        rows = rows.take(np.argsort(group, kind="stable"))
    ends = np.bincount(group, minlength=len(first)).cumsum().tolist()
    for number, (begin, end, says) in enumerate(zip([0, *ends], ends, told, strict=False)):
        parameters = {name: plain(says[name]) for name in naming if says[name] is not None and says[name] == says[name]}
        status, reason = says.get("status", ""), says.get("reason", "")
        yield ForeignRun(
            str(parameters.get("run", parameters.get("hash", number))),
            path,
            rows.iloc[begin:end],
            parameters,
            status if status in ("done", "diverged", "failed") else "",
            reason if isinstance(reason, str) else "",
        )


def _tell(table: pd.DataFrame, context: ImportContext) -> None:
    """Take what an export says of metrics."""
    about = table[["workload", "metric", *METRICS]].drop_duplicates() if "workload" in table else table.iloc[:0]
    for workload, metric, better, ranks, target in about.itertuples(index=False):
        if better in ("higher", "lower"):
            context.told.better[str(metric)] = better
        if plain(ranks) is True:
            context.told.ranks[str(workload)] = str(metric)
            value = plain(target)
            if is_number(value) and value == value:
                context.told.targets[str(workload)] = float(value)


def _groups(table: pd.DataFrame, naming: Sequence[str]) -> npt.NDArray[np.int32]:
    """The number of each row's run, in the order of first rows. A groupby would hold all columns' codes at once."""
    group = np.zeros(len(table), np.int32)
    for name in naming:
        codes, values = codes_of(table[name])
        if len(values) > 1 or (codes < 0).any():
            group = pd.factorize(group.astype(np.int64) * (len(values) + 1) + codes + 1)[0].astype(np.int32)
    return group


def _naming(table: pd.DataFrame, measured: pd.Series, context: ImportContext) -> list[str]:
    """The columns that tell runs apart: those of a run, and hyperparameters.

    What differs from row to row of a run, such as a scheduled rate or a time, is none.
    """
    own = [name for name in NAMING if name in table]
    further = [name for name in table.columns if name not in (*TIDY, *COSTS, *SAYS, *own)]
    if not further:
        return own
    rows = table[measured]
    whole = not rows.duplicated([*own, "step", "split", "metric"]).any()
    groups = rows.groupby(own, sort=False, dropna=False, observed=True) if own else None
    found = list(own)
    for name in further:
        if groups is None:
            values, most = rows[name].nunique(dropna=False), len(rows)
            varies, each = values > 1, values == most > 1
        else:
            counts = groups[name].nunique(dropna=False)
            varies, each = bool((counts > 1).any()), bool(((counts == groups.size()) & (counts > 1)).any())
        if varies and (whole or each):
            context.note(f"{name} differs within runs, and is taken for no setting")
        else:
            found.append(name)
    return found


def _pairs(path: Path, rows: pd.DataFrame) -> Any:
    """``split.metric`` of each row. To join the texts of millions of rows would take seconds."""
    (split, splits), (metric, metrics) = (codes_of(rows[name]) for name in ("split", "metric"))
    if (split < 0).any():
        raise UserError(f"{path}: a row with a value has no split: train, valid or test")
    names = [f"{one}.{other}" for one in splits for other in metrics]
    different = sorted(set(names))
    place = np.array([different.index(name) for name in names], np.int32)
    return pd.Categorical.from_codes(place[split.astype(np.int32) * max(len(metrics), 1) + metric], pd.Index(different))


def _wide(path: Path, table: pd.DataFrame, context: ImportContext) -> Iterator[ForeignRun]:
    lower = {str(name).lower(): str(name) for name in table.columns}
    count = next((lower[name] for name in STEPS if name in lower), None)
    if count is None:
        listed = ", ".join([str(name) for name in table.columns][:12])
        raise UserError(f"{path}: no column counts steps; it has {listed}: --map step=COLUMN names it")
    own = [name for name in NAMING if name in table]
    own += _settings(path, table, count, own)
    if not own:
        yield _melted(path, table, count, context)
        return
    for values, rows in table.groupby(own, sort=False, dropna=False, observed=True):
        told = dict(zip(own, values if isinstance(values, tuple) else (values,), strict=True))
        run = _melted(path, rows.drop(columns=own), count, context)
        named = {name: plain(value) for name, value in told.items() if value is not None and value == value}
        name = " ".join(str(value) for value in named.values())
        yield replace(run, name=f"{run.name} {name}".strip(), parameters={**run.parameters, **named})


def _settings(path: Path, table: pd.DataFrame, count: str, own: list[str]) -> list[str]:
    """The further columns that tell runs apart: with each of them fewer rows repeat a step of their run.

    Each value of such a column has a run from the first step on. What differs after a resume, such as a scheduled rate,
    has not; and a column with a value of its own in most rows is measured.
    """
    found: list[str] = []
    table = table.assign(**{count: numbers(path, table[count], count)})
    repeated = int(table.duplicated([*own, count]).sum())
    for name in map(str, table.columns):
        if not repeated:
            break
        if name in (*own, count, *COSTS, *SAYS) or guessed(name) is not None:
            continue
        keys = [*own, *found, name]
        rows = int(table.duplicated([*keys, count]).sum())
        begins = table.groupby(keys, sort=False, dropna=False, observed=True)[count].min()
        whole = begins.groupby(level=list(range(len(own))), dropna=False).nunique().max() if own else begins.nunique()
        if rows < repeated and whole == 1 and 2 * len(begins) <= len(table):
            found.append(name)
            repeated = rows
    return found


def _melted(path: Path, table: pd.DataFrame, count: str, context: ImportContext) -> ForeignRun:
    """A wide table of one run."""
    own = [str(name) for name in table.columns if guessed(str(name)) is not None]
    run = melted(path, path.stem, table, count, own, SAYS)
    if count.lower() not in ("epoch", "epochs"):
        return run
    if len(run.rows) and run.rows["step"].min() == 0:
        context.note("epochs count from 0: a value of epoch 0 counts as one of the start")
    return replace(run, counts="epochs")
