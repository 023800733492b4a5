"""``thalweg results compact``."""

from __future__ import annotations

from pathlib import Path

from thalweg.commands.results.find import chosen_results, nothing_in
from thalweg.console import console, errors, print_json
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.present import sentences
from thalweg.present.numbers import number
from thalweg.store.compact import Compacted, compact
from thalweg.store.roots import results_root
from thalweg.store.writing import ResultsFolder


def compact_command(benchmark: str | None, results: Path | None, as_json: bool) -> ExitCode:
    """Compact results and print how many bytes that freed; ``NOTHING`` when there are no results."""
    root = results_root(results)
    done: dict[str, Compacted] = {}
    try:
        for name, there in chosen_results(benchmark, root).items():
            done[name] = compact(ResultsFolder(root, there.name))
    except OSError as error:
        # either the results or the index in the user's cache
        raise UserError(f"{error.filename or root}: cannot be written: {error.strerror}") from error
    if as_json:
        print_json({"results": str(root), "benchmarks": {name: vars(each) for name, each in done.items()}})
    for name, each in done.items() if not as_json else ():
        parts = [f"{sentences.count(each.trials, 'trial')} in the index"]
        for trial, reason in each.refused.items():
            errors().print(f"{name}/{trial} cannot be read: {reason}", markup=False)
        parts += [f"{each.unreadable} cannot be read"] if each.unreadable else []
        parts += [f"{each.swept} that were cut off are kept as failed"] if each.swept else []
        parts += [f"removed {each.locks} lock files and {each.scratch} leftovers of measurements"]
        parts += [f"{number(each.freed, 'bytes')} bytes freed", f"the index has {number(each.index, 'bytes')}"]
        console().print(f"{name}: {'; '.join(parts)}", markup=False)
    if not done:
        return nothing_in(root)
    return ExitCode.DONE
