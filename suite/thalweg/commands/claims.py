"""``thalweg claims``: list, run, show and report claims, and draw the lecture's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thalweg.claims.read import ClaimRow, entries_of, read_row, tiers_of
from thalweg.console import console, errors, lines, print_json, print_lines, print_table, warn_of_failures
from thalweg.errors import NothingThere, UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.present import claims as present
from thalweg.registry import Entry, Registry, load_registry
from thalweg.runner.interrupts import interruptible
from thalweg.shown import markdown
from thalweg.store.claims import ClaimResults
from thalweg.store.roots import results_root

FORMATS = ("table", "markdown", "json")


@dataclass(frozen=True)
class ClaimsArguments:
    """What the commands of claims are asked for."""

    ids: tuple[str, ...] = ()
    """The claims; all where none is named."""
    tier: str = "quick"
    results: Path | None = None
    plugins: tuple[Path, ...] = ()

    def registry(self) -> Registry:
        """The registry, with the plugin files."""
        registry = load_registry(self.plugins)
        warn_of_failures(record for record in registry.plugins if record.origin == "file")
        return registry

    def chosen(self, registry: Registry) -> list[Entry]:
        """The claims that have the tier; UserError where a named claim has not, or no claim has."""
        entries = entries_of(registry, self.ids)
        every = tiers_of(registry.entries("claims"))
        if every and self.tier not in every:
            raise UserError(f"--tier: {unknown('tier', self.tier, every)}")
        without = [entry.name for entry in entries if self.tier not in entry.component.tiers]
        if self.ids and without and len(without) == len(entries):
            tiers = ", ".join(tiers_of(entries))
            raise UserError(f"--tier: {', '.join(without)}: no tier {self.tier!r}; there are: {tiers}")
        return [entry for entry in entries if entry.name not in without]

    def rows(self, registry: Registry) -> list[ClaimRow]:
        """What is kept of the claims."""
        results = ClaimResults(results_root(self.results))
        if results.refusal:
            raise UserError(results.refusal)
        return [read_row(entry, self.tier, results, registry) for entry in self.chosen(registry)]


@interruptible()
def run_command(
    arguments: ClaimsArguments, jobs: str | None, device: str, batching: bool, fresh: bool, quiet: bool, as_json: bool
) -> ExitCode:
    """Run the claims, then print their verdicts; ``FAILED`` where a claim could not be measured."""
    from thalweg.claims.run import ClaimsOptions, run_claims
    from thalweg.commands.progress import make_progress
    from thalweg.commands.run import choose_device, output_to_errors, workers_of
    from thalweg.runner.options import RunOptions, default_executor

    registry = arguments.registry()
    entries = arguments.chosen(registry)
    workers = workers_of(jobs)
    several = jobs is not None and workers != 1
    run = RunOptions(workers=workers, fresh=False)
    run = RunOptions(executor=default_executor(registry, several, run), workers=workers if several else 1)
    if several and workers is None:
        from thalweg.memory import automatic_workers

        workers = automatic_workers()
    options = ClaimsOptions(run, (workers or 1) if several else 1, choose_device(device), batching, fresh)
    root = results_root(arguments.results)
    progress = make_progress(quiet)
    try:
        with output_to_errors():
            report = run_claims(entries, arguments.tier, registry, root, progress, options)
    finally:
        progress.close()
    results = ClaimResults(root)
    rows = [read_row(entry, arguments.tier, results, registry) for entry in entries]
    trials = report.trained.document()["trials"] if report.trained else None
    if as_json:
        print_json(
            {
                "tier": report.tier,
                "results": str(root),
                "outcome": report.outcome,
                "seconds": round(report.seconds, 3),
                "trials": trials,
                "failures": [{"claim": name, "kind": one.kind, "message": one.message} for name, one in report.failed]
                + (report.trained.failures if report.trained else []),
                "claims": [present.document(row) for row in rows],
            }
        )
    else:
        _print_ledger(rows)
        for name, failure in report.failures.items():
            errors().print(f"{name}: {failure.line}", markup=False)
        words = f"; {trials['trained']} trials trained, {trials['cached']} done before" if trials else ""
        head = "interrupted; " if report.outcome == "interrupted" else ""
        console().print(f"{head}{present.counts(rows)}{words}; {report.seconds:.1f} s; results in {root}")
    if report.outcome == "interrupted":
        return ExitCode.INTERRUPTED
    if report.unsaved:
        errors().print(f"{report.unsaved} trials could not be saved: see the lines above")
    of_run = report.trained.errors if report.trained is not None else {}
    broken = any((report.failed, report.unsaved, of_run, any(row.failed for row in rows)))
    return ExitCode.FAILED if broken or report.outcome == "stopped" else ExitCode.DONE


def list_command(arguments: ClaimsArguments, as_json: bool) -> ExitCode:
    """Print a line for each claim with its verdict."""
    rows = arguments.rows(arguments.registry())
    if as_json:
        print_json({"claims": [present.document(row) for row in rows]})
        return ExitCode.DONE
    _print_ledger(rows)
    console().print(present.counts(rows))
    return ExitCode.DONE


def show_command(arguments: ClaimsArguments, as_json: bool) -> ExitCode:
    """Print all that is known of each claim."""
    rows = arguments.rows(arguments.registry())
    if as_json:
        print_json({"claims": [present.document(row) for row in rows]})
        return ExitCode.DONE
    for row in rows:
        _print_claim(row)
    return ExitCode.DONE


def report_command(arguments: ClaimsArguments, format_: str) -> ExitCode:
    """Print the ledger: every claim, with its parts; ``NOTHING`` where no claim is measured."""
    if format_ not in FORMATS:
        raise UserError(f"--format: {unknown('format', format_, (*FORMATS, 'html'))}")
    rows = arguments.rows(arguments.registry())
    _check_measured(rows, arguments)
    if format_ == "json":
        print_json({"claims": [present.document(row) for row in rows]})
    elif format_ == "markdown":
        print_lines(_as_markdown(rows))
    else:
        _print_ledger(rows)
        console().print(present.counts(rows))
    return ExitCode.DONE


def figures_command(arguments: ClaimsArguments, out: Path) -> ExitCode:
    """Draw the figures of the claims that have some into a folder; ``NOTHING`` where no claim is measured."""
    from thalweg.present.figures import check_installed, write_figures

    check_installed()
    rows = arguments.rows(arguments.registry())
    _check_measured(rows, arguments)
    try:
        written, missing = write_figures(rows, out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}") from error
    for path in written:
        console().print(str(path))
    if absent := [row.entry.name for row in rows if row.decision is None]:
        missing.append(f"not measured, so without figures: {', '.join(absent)}")
    for text in missing:
        errors().print(text, markup=False)
    if not written and not missing:
        errors().print(f"no figure comes from {', '.join(row.entry.name for row in rows)}")
    return ExitCode.DONE if written else ExitCode.NOTHING


def _check_measured(rows: Sequence[ClaimRow], arguments: ClaimsArguments) -> None:
    if not any(row.stored for row in rows):
        for row in rows:
            for note in row.notes:
                errors().print(f"{row.entry.name}: {note}", markup=False)
        root = results_root(arguments.results)
        raise NothingThere(f"no claim is measured in {root}: type 'thalweg claims run --tier {arguments.tier}'")


def _print_ledger(rows: Sequence[ClaimRow]) -> None:
    table = present.ledger(rows)
    print_table("", table.headings, table.cells(), ["value", "seeds", "s"])
    for row in rows:
        for note in row.notes:
            errors().print(f"{row.entry.name}: {note}", markup=False)


def _print_claim(row: ClaimRow) -> None:
    out = console()
    claim = row.claim
    out.print(f"{row.entry.name}  {claim.summary}", style="bold")
    pairs = [("statement", claim.statement), ("section", claim.section), ("source", claim.source)]
    pairs += [("kind", "theorem: every seed must keep the bounds" if claim.theorem else "empirical")]
    pairs += [("method", claim.method), ("caveat", claim.caveat), ("tier", row.tier)]
    pairs += [("verdict", f"{present.MARKS[row.verdict]} {present.verdict_of_row(row)}")]
    pairs.append(("the rule", claim.fault))
    if row.decision and row.decision.condition:
        pairs.append(("condition", row.decision.condition))
    if row.stored:
        kept = row.stored.document
        pairs += [("seeds", f"{row.seeds} of {claim.seeds[row.tier]}")]
        pairs += [("cost", f"{row.seconds:.1f} s: {kept.training_seconds:.1f} s of training, the rest to measure")]
    pairs += [("again", present.command(row))]
    print_table("", ["", ""], [[name, lines(text)] for name, text in pairs if text])
    if row.decision:
        table = present.parts_table(row.decision.parts)
        print_table("", table.headings, table.cells())
    for note in (*row.notes, *present.lost(row)):
        out.print(note)
    out.print()


def _as_markdown(rows: Sequence[ClaimRow]) -> str:
    """The ledger as Markdown, a heading for each section."""
    found = [present.counts(rows), ""]
    for section in dict.fromkeys(row.claim.section for row in rows):
        mine = [row for row in rows if row.claim.section == section]
        found += [f"## {markdown(section or 'Claims')}", "", present.ledger(mine).markdown(), ""]
    return "\n".join(found).rstrip()
