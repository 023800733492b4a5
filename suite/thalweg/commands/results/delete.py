"""``thalweg results delete``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from thalweg.commands.results.find import chosen_results, find_trial
from thalweg.console import console, errors
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.present import sentences
from thalweg.store.index import read_stored
from thalweg.store.roots import results_root
from thalweg.store.transfer import delete
from thalweg.store.trials import StoredTrial
from thalweg.store.writing import ResultsFolder


@dataclass(frozen=True)
class DeleteOptions:
    """What ``thalweg results delete`` is asked for."""

    hashes: tuple[str, ...] = ()
    """The first digits of trials' hashes."""
    failed: bool = False
    """Whether all failed trials are deleted too."""
    benchmark: str | None = None
    """The only benchmark whose failed trials are deleted."""
    results: Path | None = None
    sure: bool = False
    """Whether to delete without a question."""


def delete_command(options: DeleteOptions) -> ExitCode:
    """Delete trials after a question; ``FAILED`` when some cannot be deleted, ``NOTHING`` when no trial is chosen."""
    root = results_root(options.results)
    if not options.hashes and not options.failed:
        raise UserError("name the trials by the first digits of their hashes, or give --failed")
    chosen: dict[Path, tuple[ResultsFolder, StoredTrial]] = {}
    for hash_ in options.hashes:
        name, trial = find_trial(hash_, root)
        chosen[trial.path] = ResultsFolder(root, name), trial
    if options.failed:
        for name, there in chosen_results(options.benchmark, root).items():
            stored = read_stored(there)
            trials = stored.only(stored.trials["status"] == "failed").by_hash
            if len(trials):
                folder = ResultsFolder(root, name)
                chosen |= {trial.path: (folder, trial) for trial in trials.values()}
    for _, trial in chosen.values():
        d = trial.document
        errors().print(f"{d.hash}  {d.workload} · {d.optimizer} · seed {d.trial.seed}: {d.status}", markup=False)
    if not chosen:
        errors().print(f"no such trials in {root}", markup=False)
        return ExitCode.NOTHING
    if not options.sure:
        if not sys.stdin.isatty():
            raise UserError(f"{sentences.count(len(chosen), 'trial')} would be deleted: give --yes")
        import typer

        typer.confirm(f"Delete {sentences.count(len(chosen), 'trial')}?", abort=True, err=True)
    kept = 0
    for folder, trial in chosen.values():
        try:
            delete(folder, trial)
        except OSError as error:
            errors().print(f"{trial.path} cannot be deleted: {error.strerror or error}", markup=False)
            kept += 1
    console().print(f"{sentences.count(len(chosen) - kept, 'trial')} deleted", markup=False)
    return ExitCode.FAILED if kept else ExitCode.DONE
