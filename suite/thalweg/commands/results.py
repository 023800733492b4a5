"""``thalweg results list``, ``show`` and ``verify``."""

from __future__ import annotations

from pathlib import Path

from thalweg.commands.output import console, errors, number, print_json, print_table
from thalweg.errors import UserError
from thalweg.store.documents import TrialDocument
from thalweg.store.results import BenchmarkResults, StoredTrial, benchmarks_in, require_benchmark, results_root
from thalweg.store.verify import verify


def _results(benchmark: str | None, root: Path) -> list[tuple[str, BenchmarkResults]]:
    names = [benchmark] if benchmark else benchmarks_in(root)
    found = [(name, require_benchmark(root, name)) for name in names]
    for _, results in found:
        results.sweep()
    return found


def list_command(benchmark: str | None, results: Path | None, as_json: bool) -> int:
    """Print the trials on disk; exit code 3 when there are none."""
    root = results_root(results)
    rows: list[tuple[str, TrialDocument]] = []
    unreadable = []
    for name, there in _results(benchmark, root):
        stored, bad = there.scan()
        rows += [(name, trial.document) for trial in stored]
        unreadable += bad
    if as_json:
        trials = [
            {
                "benchmark": name,
                "hash": document.hash,
                "workload": document.workload,
                "optimizer": document.optimizer,
                "seed": document.trial.seed,
                "status": document.status,
                "reason": document.reason,
            }
            for name, document in rows
        ]
        print_json({"results": str(root), "trials": trials, "unreadable": [str(item.path) for item in unreadable]})
    elif rows:
        table = [
            [name, d.workload, d.optimizer, d.trial.seed, d.hash, d.status, d.reason or _final(d)] for name, d in rows
        ]
        print_table(
            f"{len(rows)} trials in {root}",
            ["benchmark", "workload", "optimizer", "seed", "hash", "status", "result"],
            table,
            right=["seed"],
        )
    for item in unreadable:
        errors().print(f"{item.path} cannot be read: {item.reason}", markup=False)
    if not rows:
        errors().print(f"no results in {root}: type 'thalweg run quick'", markup=False)
        return 3
    return 0


def _final(document: TrialDocument) -> str:
    final = document.summary.get("final", {})
    split = "test" if "test" in final else "train"
    values = final.get(split, {})
    return ", ".join(f"{split} {metric} {number(value)}" for metric, value in values.items())


def find_trial(hash_: str, root: Path) -> StoredTrial:
    """The one trial whose hash begins so; UserError when there is none or more than one."""
    found, unreadable = [], []
    for name in benchmarks_in(root):
        stored, others = BenchmarkResults(root, name).scan()
        found += [trial for trial in stored if trial.document.hash.startswith(hash_)]
        unreadable += [item for item in others if item.path.name.rpartition("--")[2].startswith(hash_)]
    if not found and unreadable:
        raise UserError(f"{unreadable[0].path} cannot be read: {unreadable[0].reason}")
    if not found:
        raise UserError(f"no trial in {root} has a hash that begins with {hash_!r}: see 'thalweg results list'")
    if len({trial.document.hash for trial in found}) > 1:
        hashes = ", ".join(sorted({trial.document.hash for trial in found}))
        raise UserError(f"{hash_!r} is the beginning of several trials' hashes: {hashes}")
    return found[0]


def show_command(hash_: str, results: Path | None, as_json: bool) -> None:
    """Print a trial's document."""
    import json

    trial = find_trial(hash_, results_root(results))
    document = json.loads(trial.document.to_json())
    if as_json:
        print_json({**document, "path": str(trial.path)})
        return
    console().print(f"{trial.path}", style="bold", markup=False)
    console().print_json(json.dumps(document))


def verify_command(benchmark: str | None, results: Path | None, as_json: bool) -> int:
    """Print what is wrong on disk; exit code 1 if anything is, 3 if there is nothing to check."""
    root = results_root(results)
    whole = 0
    faults = []
    for _, there in _results(benchmark, root):
        count, found = verify(there)
        whole += count
        faults += found
    if as_json:
        rows = [{"path": str(fault.path), "reason": fault.reason} for fault in faults]
        print_json({"results": str(root), "whole": whole, "faults": rows})
    else:
        for fault in faults:
            console().print(f"{fault.path}: {fault.reason}", markup=False)
        console().print(f"{whole} trials are whole, {len(faults)} faults", markup=False)
    if faults:
        return 1
    return 0 if whole else 3
