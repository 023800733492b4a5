"""``thalweg compare``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from thalweg.console import print_json, print_lines, print_table, tell, warn_of_failures
from thalweg.errors import NothingThere, UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.present.asked_comparison import Question, compare_as_asked
from thalweg.present.comparison import Comparison
from thalweg.present.sides import read_side
from thalweg.present.verdicts import HEADINGS, junit, section
from thalweg.registry import load_registry

FORMATS = ("table", "markdown", "json", "junit")


@dataclass(frozen=True)
class CompareOptions:
    """What ``thalweg compare`` is asked for."""

    baseline: str
    """A results folder, or FOLDER:OPTIMIZER."""
    candidate: str
    benchmark: str | None = None
    """Which benchmark, where a folder has results of several."""
    metric: str | None = None
    """The only metric or cost to compare."""
    margins: tuple[str, ...] = ()
    """Margins within which sides are the same, such as ``1pp``, ``50%error`` and ``10%``."""
    paired: bool = True
    """Whether equal seeds of both sides are pairs."""
    allow_undecided: bool = False
    """Whether an undecided comparison ends with the exit code 0."""
    format: str = "table"
    plugin_files: tuple[Path, ...] = ()


def compare_command(options: CompareOptions) -> ExitCode:
    """Print whether the candidate is worse.

    The exit code is ``FAILED`` if it is, ``UNDECIDED`` where the seeds are too few, and ``NOTHING`` where nothing was
    compared.
    """
    check_format(options.format)
    question = Question(options.metric, options.margins, options.paired)
    question.check()
    registry = load_registry(options.plugin_files)
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    try:
        before = read_side(options.baseline, "BASELINE", options.benchmark, registry, options.metric, tell)
        after = read_side(options.candidate, "CANDIDATE", options.benchmark, registry, options.metric, tell)
    except NothingThere as error:
        if options.format not in ("json", "junit"):
            raise
        print_comparison(
            Comparison([], (options.baseline, options.candidate), {}, [str(error)], {}), "", options.format
        )
        return ExitCode.NOTHING
    found = compare_as_asked(before, after, registry, question)
    if options.allow_undecided and found.verdict == "undecided":
        found.notes.append("undecided counts as done here, since --allow-undecided is given")
    print_comparison(found, after.benchmark.name, options.format, options.allow_undecided)
    return found.code(options.allow_undecided)


def check_format(name: str) -> None:
    """Raise UserError where there is no such format."""
    if name not in FORMATS:
        raise UserError(f"--format: {unknown('format', name, FORMATS)}")


def print_comparison(found: Comparison, benchmark: str, format_: str, allow_undecided: bool = False) -> None:
    """Print a comparison in one of ``FORMATS``."""
    match format_:
        case "json":
            told = {"verdict": found.verdict, "rows": found.rows}
            print_json(told | {"environments": found.environments, "notes": found.notes})
        case "junit":
            print_lines(junit(benchmark, found.rows, found.shown, found.notes, allow_undecided))
        case "markdown":
            print_lines(section(found.title, found.shown, found.notes))
        case _:
            print_table(found.title, HEADINGS, found.shown, right=HEADINGS[3:7])
            print_table("", [""], [[note] for note in found.notes])
