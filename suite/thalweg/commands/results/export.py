"""``thalweg results export``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.commands.results.besides import marks_of, metrics_of
from thalweg.commands.results.find import chosen_results, nothing_in
from thalweg.console import console, errors, warn_of_unreadable
from thalweg.errors import UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.present import notes, sentences
from thalweg.present.loaded import read_loaded
from thalweg.registry import load_registry
from thalweg.store.export import FORMATS, Besides, export
from thalweg.store.overlay import Laid, laid_over
from thalweg.store.roots import refused_in, results_root
from thalweg.store.trials import StoredTrial


def export_command(out: Path, benchmark: str | None, results: Path | None, raw: bool) -> ExitCode:
    """Write results into one file; ``NOTHING`` when there are no results."""
    if out.suffix not in FORMATS:
        raise UserError(f"{out}: {unknown('format', out.suffix, FORMATS)}")
    if out.suffix == ".duckdb" and importlib.util.find_spec("duckdb") is None:
        raise UserError(f"{out}: a DuckDB file needs duckdb: pip install 'thalweg[export]'")
    if raw and out.suffix != ".csv":
        raise UserError(f"--raw: is for .csv files, and {out} is not one")
    root = results_root(results)
    stored: list[tuple[str, StoredTrial]] = []
    unreadable = refused_in(root) if benchmark is None else []
    marks: dict[tuple[str, str], Mapping[str, Any]] = {}
    metrics: dict[tuple[str, str, str], tuple[str, bool, float]] = {}
    laid: dict[str, Laid] = {}
    registry = load_registry()
    for name, there in chosen_results(benchmark, root).items():
        trials, others = there.scan()
        stored += [(name, trial) for trial in trials]
        view = read_loaded(there, registry).view
        marks |= {(name, hash_): mark for hash_, mark in marks_of(view).items()}
        metrics |= {(name, *key): told for key, told in metrics_of(view).items()}
        unreadable += others
        over = laid_over(there)
        if over.probes:
            laid[name] = over
        if note := notes.ignored(over):
            for text in (note.text, *note.items):
                errors().print(text, markup=False)
    warn_of_unreadable(unreadable)
    if not stored:
        return nothing_in(root)
    try:
        warn_of_unreadable(export(stored, out, raw, Besides(marks, metrics, laid)))
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from error
    console().print(f"{sentences.count(len(stored), 'trial')} in {out}", markup=False)
    return ExitCode.DONE
