"""``thalweg report``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from thalweg.console import console, errors, warn_of_failures, warn_of_unreadable
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.kept import find_benchmark
from thalweg.present.loaded import read_loaded
from thalweg.registry import load_registry
from thalweg.report.content import report_of
from thalweg.report.html import check_installed, to_html
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root


def report_command(name: str, out: Path, results: Path | None, plugin_files: list[Path]) -> ExitCode:
    """Write the report; ``NOTHING`` when there are no results."""
    check_out(out)
    registry = load_registry(plugin_files)
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    root = results_root(results)
    benchmark = find_benchmark(name, registry, root)
    loaded = read_loaded(BenchmarkResults(root, benchmark.name), registry, benchmark=benchmark)
    if loaded.view.seen.trials.empty:
        warn_of_unreadable(loaded.unreadable)
        errors().print(f"no results of {benchmark.name!r} in {root}: type 'thalweg run {name}'", markup=False)
        return ExitCode.NOTHING
    write_file(out, to_html(report_of(loaded, registry)))
    console().print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, needs nothing else", markup=False)
    return ExitCode.DONE


def check_out(out: Path) -> None:
    """Raise UserError for mistakes that would else show only after seconds of drawing."""
    check_installed()
    if not out.name or out.is_dir():
        raise UserError(f"--out {out}: is a folder: name a file, like report.html")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")


def write_file(out: Path, text: str) -> None:
    """Write the whole file or nothing; an older file stays until then."""
    partial = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
