"""``thalweg results list``, ``show`` and ``verify``."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from thalweg.commands.output import console, errors, number, print_json, print_table, warn_of_unreadable
from thalweg.errors import UserError
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, refused_in, require_benchmark, results_root
from thalweg.store.sweep import cut_off
from thalweg.store.trials import StoredTrial
from thalweg.store.verify import Fault, set_aside, verify
from thalweg.store.writing import ResultsFolder


def _results(benchmark: str | None, root: Path) -> list[tuple[str, BenchmarkResults]]:
    names = [benchmark] if benchmark else benchmarks_in(root)
    return [(name, require_benchmark(root, name)) for name in names]


AT_ONCE = 1000
"""More trials than this are counted for people: nobody reads them one by one."""

_TOLD = ["benchmark", "hash", "workload", "optimizer", "seed", "status", "reason"]


def list_command(benchmark: str | None, results: Path | None, as_json: bool) -> int:
    """Print the trials on disk; exit code 3 when there are none."""
    root = results_root(results)
    found = dict(_results(benchmark, root))
    there = {name: read_stored(results) for name, results in found.items()}
    unreadable = [item for stored in there.values() for item in stored.unreadable]
    unreadable += refused_in(root) if benchmark is None else []
    tables = {name: pd.concat([stored.trials, _cut_off(found[name])]) for name, stored in there.items()}
    parts = [table.assign(benchmark=name) for name, table in tables.items() if len(table)]
    trials = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if as_json:
        columns = [trials[name].to_numpy(dtype=object).tolist() for name in _TOLD] if parts else []
        rows = [dict(zip(_TOLD, values, strict=True)) for values in zip(*columns, strict=True)]
        document = {"results": str(root), "trials": rows, "unreadable": [str(item.path) for item in unreadable]}
        print_json(document, indent=1 if len(rows) <= AT_ONCE else None)
    elif len(trials) > AT_ONCE:
        _print_counts(trials, root, benchmark)
    elif parts:
        _print_trials(trials, root)
    warn_of_unreadable(unreadable)
    if not parts:
        errors().print(f"no results in {root}: type 'thalweg run quick'", markup=False)
        return 3
    return 0


def _cut_off(results: BenchmarkResults) -> pd.DataFrame:
    """Trials that a killed process left, as the next run will record them."""
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
    print_table(f"{len(rows)} trials in {root}", [*keys, "result"], rows, right=["seed"])


def _print_counts(trials: pd.DataFrame, root: Path, benchmark: str | None) -> None:
    keys = ["benchmark", "workload", "optimizer"]
    statuses = ["done", "diverged", "failed"]
    marked = trials.assign(**{status: trials["status"] == status for status in statuses})
    groups = marked.groupby(keys)
    counts = groups[["seed"]].nunique().join(groups[statuses].sum()).reset_index()
    numbers = ["seeds", *statuses]
    rows = counts.to_numpy(dtype=object).tolist()
    print_table(f"{len(trials)} trials in {root}", [*keys, *numbers], rows, right=numbers)
    which = "" if benchmark else f", or the name of a benchmark with at most {AT_ONCE}"
    errors().print()
    errors().print(f"trial by trial: --json{which}", markup=False)


def _final(text: str) -> str:
    final = json.loads(text)
    split = "test" if "test" in final else "train"
    values = final.get(split, {})
    return ", ".join(f"{split} {metric} {number(value)}" for metric, value in values.items())


def find_trial(hash_: str, root: Path) -> tuple[str, StoredTrial]:
    """The one trial whose hash begins so, after its benchmark; UserError where none or several trials have one."""
    found, unreadable = [], []
    for name in benchmarks_in(root):
        stored, others = BenchmarkResults(root, name).scan(hash_)
        found += [(name, trial) for trial in stored]
        unreadable += others
    if not found and unreadable:
        way = "'thalweg results verify --set-aside' moves it away"
        raise UserError(f"{unreadable[0].path} cannot be read: {unreadable[0].reason}: {way}")
    if not found:
        raise UserError(f"no trial in {root} has a hash that begins with {hash_!r}: see 'thalweg results list'")
    if len({trial.document.hash for _, trial in found}) > 1:
        hashes = ", ".join(sorted({trial.document.hash for _, trial in found}))
        raise UserError(f"{hash_!r} is the beginning of several trials' hashes: {hashes}")
    return found[0]


def show_command(hash_: str, results: Path | None, as_json: bool) -> None:
    """Print a trial's document."""
    _, trial = find_trial(hash_, results_root(results))
    document = json.loads(trial.document.to_json())
    if as_json:
        print_json({**document, "path": str(trial.path)})
        return
    console().print(f"{trial.path}", style="bold", markup=False)
    console().print_json(json.dumps(document))


def verify_command(benchmark: str | None, results: Path | None, as_json: bool, aside: bool = False) -> int:
    """Print every fault on disk; exit code 1 with any fault, 3 without any trial.

    With ``aside`` damaged and foreign things are moved out of the way.
    """
    root = results_root(results)
    whole = 0
    faults = []
    moved: list[Path] = []
    stuck: list[Fault] = []
    if benchmark is None:
        faults += [Fault(item.path, item.reason) for item in refused_in(root)]
    for _, there in _results(benchmark, root):
        folder = ResultsFolder(root, there.name) if aside else None
        count, found = verify(there)
        whole += count
        faults += found
        if folder is not None:
            went, stayed = set_aside(folder, found)
            moved, stuck = [*moved, *went], [*stuck, *stayed]
    if as_json:
        rows = [{"path": str(fault.path), "reason": fault.reason} for fault in faults]
        print_json({"results": str(root), "whole": whole, "faults": rows, "set_aside": [str(path) for path in moved]})
    else:
        for fault in faults:
            console().print(f"{fault.path}: {fault.reason}", markup=False)
        console().print(f"{whole} trials are whole, {len(faults)} faults", markup=False)
        for path in moved:
            console().print(f"set aside: {path}", markup=False)
    for fault in stuck:
        errors().print(f"{fault.path} {fault.reason}", markup=False)
    if faults:
        return 1
    return 0 if whole else 3
