"""``thalweg results import``."""

from __future__ import annotations

from pathlib import Path

from thalweg.console import console, errors, print_json
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, refused_in, results_root
from thalweg.store.transfer import Imported, take_over
from thalweg.store.writing import ResultsFolder


def import_command(source: Path, results: Path | None, as_json: bool) -> ExitCode:
    """Copy results from another folder; ``FAILED`` where some are damaged or contradict the results here."""
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
    code = ExitCode.FAILED if wrong else ExitCode.DONE
    if as_json:
        print_json({"schema": 1, "results": str(root), "benchmarks": {name: vars(each) for name, each in done.items()}})
        return code
    for name, each in done.items():
        for trial, reason in each.conflicts.items():
            console().print(f"{name}/{trial}: the trial here stays: {reason}", markup=False)
        for trial, reason in each.damaged.items():
            console().print(f"{name}/{trial}: left out: {reason}", markup=False)
        for file, reason in each.left.items():
            console().print(f"{name}/{file}: not copied: {reason}", markup=False)
        counts = f"{len(each.added)} added, {len(each.there)} there already, {len(each.conflicts)} in conflict"
        console().print(f"{name}: {counts}, {len(each.damaged)} damaged", markup=False)
    return code
