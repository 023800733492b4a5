"""``thalweg results compact``, ``delete``, ``export`` and ``import``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from thalweg.commands.output import console, errors, number, print_json, warn_of_unreadable
from thalweg.commands.results import find_trial
from thalweg.errors import UserError, unknown
from thalweg.store.compact import Compacted, compact
from thalweg.store.export import FORMATS, export
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, refused_in, require_benchmark, results_root
from thalweg.store.transfer import Imported, delete, take_over
from thalweg.store.trials import StoredTrial
from thalweg.store.writing import ResultsFolder


def delete_command(hashes: list[str], benchmark: str | None, failed: bool, results: Path | None, sure: bool) -> int:
    """Delete trials, after a question; exit code 1 when some cannot be deleted, 3 without any such trial."""
    root = results_root(results)
    if not hashes and not failed:
        raise UserError("name the trials by the first digits of their hashes, or ask for --failed ones")
    chosen: dict[Path, tuple[ResultsFolder, StoredTrial]] = {}
    for hash_ in hashes:
        name, trial = find_trial(hash_, root)
        chosen[trial.path] = ResultsFolder(root, name), trial
    if failed:
        for name in [benchmark] if benchmark else benchmarks_in(root):
            stored = read_stored(require_benchmark(root, name))
            trials = stored.only(stored.trials["status"] == "failed").by_hash
            if len(trials):
                folder = ResultsFolder(root, name)
                chosen |= {trial.path: (folder, trial) for trial in trials.values()}
    for _, trial in chosen.values():
        d = trial.document
        errors().print(f"{d.hash}  {d.workload} · {d.optimizer} · seed {d.trial.seed}: {d.status}", markup=False)
    if not chosen:
        errors().print(f"no such trials in {root}", markup=False)
        return 3
    if not sure:
        if not sys.stdin.isatty():
            raise UserError(f"{len(chosen)} trials would be deleted: say --yes")
        import typer

        typer.confirm(f"Delete {len(chosen)} trials?", abort=True, err=True)
    kept = 0
    for folder, trial in chosen.values():
        try:
            delete(folder, trial)
        except OSError as error:
            errors().print(f"{trial.path} cannot be deleted: {error.strerror or error}", markup=False)
            kept += 1
    console().print(f"{len(chosen) - kept} trials deleted", markup=False)
    return 1 if kept else 0


def compact_command(benchmark: str | None, results: Path | None, as_json: bool) -> int:
    """Compact results and print how much that freed; exit code 3 without results."""
    root = results_root(results)
    done: dict[str, Compacted] = {}
    try:
        for name in [benchmark] if benchmark else benchmarks_in(root):
            done[name] = compact(ResultsFolder(root, require_benchmark(root, name).name))
    except OSError as error:
        # the results, or the user's cache that has the index
        raise UserError(f"{error.filename or root}: cannot be written: {error.strerror}") from error
    if as_json:
        print_json({"results": str(root), "benchmarks": {name: vars(each) for name, each in done.items()}})
    for name, each in done.items() if not as_json else ():
        parts = [f"{each.trials} trials in the index"]
        for trial, reason in each.refused.items():
            errors().print(f"{name}/{trial} cannot be read: {reason}", markup=False)
        parts += [f"{each.unreadable} cannot be read"] if each.unreadable else []
        parts += [f"{each.swept} that were cut off are kept as failed"] if each.swept else []
        parts += [f"removed {each.locks} lock files and {each.scratch} leftovers of measurements"]
        parts += [f"{number(each.freed, 'bytes')} bytes freed", f"the index has {number(each.index, 'bytes')}"]
        console().print(f"{name}: {'; '.join(parts)}", markup=False)
    if not done:
        errors().print(f"no results in {root}: type 'thalweg run quick'", markup=False)
        return 3
    return 0


def export_command(out: Path, benchmark: str | None, results: Path | None, raw: bool = False) -> int:
    """Write results into one file; exit code 3 without results."""
    if out.suffix not in FORMATS:
        raise UserError(f"{out}: {unknown('format', out.suffix, FORMATS)}")
    if out.suffix == ".duckdb" and importlib.util.find_spec("duckdb") is None:
        raise UserError(f"{out}: a DuckDB file needs duckdb: pip install 'thalweg[export]'")
    if raw and out.suffix != ".csv":
        raise UserError(f"--raw: is of .csv files, and {out} is none")
    root = results_root(results)
    stored: list[tuple[str, StoredTrial]] = []
    unreadable = refused_in(root) if benchmark is None else []
    for name in [benchmark] if benchmark else benchmarks_in(root):
        trials, others = require_benchmark(root, name).scan()
        stored += [(name, trial) for trial in trials]
        unreadable += others
    warn_of_unreadable(unreadable)
    if not stored:
        errors().print(f"no results in {root}: type 'thalweg run quick'", markup=False)
        return 3
    try:
        warn_of_unreadable(export(stored, out, raw))
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from error
    console().print(f"{len(stored)} trials in {out}", markup=False)
    return 0


def import_command(source: Path, results: Path | None, as_json: bool) -> int:
    """Import results from another place; exit code 1 where some are damaged, or have other numbers here."""
    names = benchmarks_in(source)
    refused = refused_in(source)
    if not names and not refused:
        raise UserError(
            f"{source}: holds no results: name a folder like results/local of another machine, or a packed file"
        )
    root = results_root(results)
    if source.is_dir() and root.is_dir() and source.samefile(root):
        raise UserError(f"{source}: is the results folder to import into: name another folder")
    done: dict[str, Imported] = {}
    try:
        for name in names:
            done[name] = take_over(ResultsFolder(root, name), BenchmarkResults(source, name))
    except OSError as error:
        raise UserError(f"{root}: cannot be written: {error.strerror}") from error
    for item in refused:
        errors().print(f"{item.path} is not read: {item.reason}", markup=False)
    wrong = bool(refused) or any(each.conflicts or each.damaged for each in done.values())
    if as_json:
        print_json({"schema": 1, "results": str(root), "benchmarks": {name: vars(each) for name, each in done.items()}})
        return 1 if wrong else 0
    for name, each in done.items():
        for trial, reason in each.conflicts.items():
            console().print(f"{name}/{trial}: kept as it is here: {reason}", markup=False)
        for trial, reason in each.damaged.items():
            console().print(f"{name}/{trial}: left out: {reason}", markup=False)
        for file, reason in each.left.items():
            console().print(f"{name}/{file}: not copied: {reason}", markup=False)
        counts = f"{len(each.added)} added, {len(each.there)} there already, {len(each.conflicts)} in conflict"
        console().print(f"{name}: {counts}, {len(each.damaged)} damaged", markup=False)
    return 1 if wrong else 0
