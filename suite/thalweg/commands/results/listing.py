"""``thalweg results list``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from thalweg.commands.results.find import chosen_results, nothing_in
from thalweg.console import errors, print_json, print_table, warn_of_unreadable
from thalweg.exit_codes import ExitCode
from thalweg.present import sentences
from thalweg.present.numbers import number
from thalweg.store.documents import ENDED
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import refused_in, results_root
from thalweg.store.sweep import cut_off

MOST_LISTED = 1000
"""The largest number of trials that are printed one by one; of more, the table shows counts."""

_KEYS = ["benchmark", "hash", "workload", "optimizer", "seed", "status", "reason"]


def list_command(benchmark: str | None, results: Path | None, as_json: bool) -> ExitCode:
    """Print the trials on disk; ``NOTHING`` when there are none."""
    root = results_root(results)
    found = chosen_results(benchmark, root)
    there = {name: read_stored(results) for name, results in found.items()}
    unreadable = [item for stored in there.values() for item in stored.unreadable]
    unreadable += refused_in(root) if benchmark is None else []
    tables = {name: pd.concat([stored.trials, _cut_off(found[name])]) for name, stored in there.items()}
    parts = [table.assign(benchmark=name) for name, table in tables.items() if len(table)]
    trials = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if as_json:
        columns = [trials[name].to_numpy(dtype=object).tolist() for name in _KEYS] if parts else []
        rows = [dict(zip(_KEYS, values, strict=True)) for values in zip(*columns, strict=True)]
        document = {"results": str(root), "trials": rows, "unreadable": [str(item.path) for item in unreadable]}
        print_json(document, indent=1 if len(rows) <= MOST_LISTED else None)
    elif len(trials) > MOST_LISTED:
        _print_counts(trials, root, benchmark)
    elif parts:
        _print_trials(trials, root)
    warn_of_unreadable(unreadable)
    if not parts:
        return nothing_in(root)
    return ExitCode.DONE


def _cut_off(results: BenchmarkResults) -> pd.DataFrame:
    """Trials that a killed process left unfinished, as the next run will record them."""
    rows = [
        {"hash": d.hash, "workload": d.workload, "optimizer": d.optimizer, "seed": d.trial.seed, "status": d.status}
        | {"reason": d.reason, "final": "{}"}
        for d in cut_off(results)
    ]
    return pd.DataFrame(rows)


def _print_trials(trials: pd.DataFrame, root: Path) -> None:
    keys = ["benchmark", "workload", "optimizer", "seed", "hash", "status"]
    told = [reason or _final(final) for reason, final in zip(trials["reason"], trials["final"], strict=True)]
    rows = trials[keys].assign(result=told).to_numpy(dtype=object).tolist()
    print_table(f"{sentences.count(len(rows), 'trial')} in {root}", [*keys, "result"], rows, right=["seed"])


def _print_counts(trials: pd.DataFrame, root: Path, benchmark: str | None) -> None:
    keys = ["benchmark", "workload", "optimizer"]
    statuses = [*ENDED, "failed", *(["unfinished"] if (trials["status"] == "unfinished").any() else [])]
    marked = trials.assign(**{status: trials["status"] == status for status in statuses})
    groups = marked.groupby(keys)
    counts = groups[["seed"]].nunique().join(groups[statuses].sum()).reset_index()
    numbers = ["seeds", *statuses]
    rows = counts.to_numpy(dtype=object).tolist()
    print_table(f"{sentences.count(len(trials), 'trial')} in {root}", [*keys, *numbers], rows, right=numbers)
    which = "" if benchmark else f", or the name of a benchmark with at most {MOST_LISTED}"
    errors().print()
    errors().print(f"trial by trial: --json{which}", markup=False)


def _final(text: str) -> str:
    final = json.loads(text)
    split = "test" if "test" in final else "train"
    values = final.get(split, {})
    return ", ".join(f"{split} {metric} {number(value)}" for metric, value in values.items())
