"""Trials and benchmarks of a results folder, as the command line names them."""

from __future__ import annotations

from pathlib import Path

from thalweg.console import errors
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, require_benchmark
from thalweg.store.trials import StoredTrial


def chosen_results(benchmark: str | None, root: Path) -> dict[str, BenchmarkResults]:
    """The results of one benchmark, or of all, by name; UserError where the one has none."""
    return {name: require_benchmark(root, name) for name in ([benchmark] if benchmark else benchmarks_in(root))}


def nothing_in(root: Path) -> ExitCode:
    """Say that the folder holds no results."""
    errors().print(f"no results in {root}: type 'thalweg run quick'", markup=False)
    return ExitCode.NOTHING


def find_trial(hash_: str, root: Path) -> tuple[str, StoredTrial]:
    """The benchmark and the trial whose hash begins with ``hash_``; UserError where no trial or several have one."""
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
