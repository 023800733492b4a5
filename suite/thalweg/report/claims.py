"""The ledger of claims with its pictures as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from thalweg.claims.read import ClaimRow
from thalweg.console import console
from thalweg.errors import NothingThere
from thalweg.exit_codes import ExitCode
from thalweg.failure import Failure
from thalweg.present import claims as present
from thalweg.present.charts.claims import parts_chart
from thalweg.present.notes import Note
from thalweg.present.picture import Picture
from thalweg.present.sentences import capital
from thalweg.report.command import check_out, write_file
from thalweg.report.content import Part, Report, Section
from thalweg.report.html import to_html

MOST_ROWS = 100_000
"""The most rows of measurements that a report draws; more make it slow to open."""


def html_command(rows: Sequence[ClaimRow], out: Path, tier: str) -> ExitCode:
    """Write the report.

    Raises:
        NothingThere: no claim is measured.
        UserError: the file cannot be written.
    """
    check_out(out)
    if not any(row.stored for row in rows):
        raise NothingThere(f"no claim is measured: type 'thalweg claims run --tier {tier}'")
    write_file(out, to_html(claims_report(rows, tier)))
    console().print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, needs nothing else", markup=False)
    return ExitCode.DONE


def claims_report(rows: Sequence[ClaimRow], tier: str) -> Report:
    """The report: the ledger, then a section for each claim."""
    sections = [Section("Ledger", [Note(present.counts(rows)), present.ledger(rows)])]
    sections += [Section(f"{row.entry.name} · {capital(row.claim.summary)}", list(_parts(row))) for row in rows]
    machines = {
        f"{about.get('cpu', '')}, {about.get('platform', '')}".strip(", ")
        for row in rows
        if row.stored and (about := row.stored.document.environment)
    }
    return Report("Claims", f"tier {tier}", {}, sections, sorted(machines), "")


def _parts(row: ClaimRow) -> Iterator[Part]:
    claim = row.claim
    yield Note(f"{present.MARKS[row.verdict]} {present.verdict_of_row(row)}. {claim.statement}")
    if row.decision is not None:
        if row.decision.condition:
            yield Note(f"Condition: {row.decision.condition}")
        yield present.parts_table(row.decision.parts)
        if (chart := parts_chart(row.decision.parts)) is not None:
            yield Picture(chart, "The interval of each part against its bound. Each row has a scale of its own.")
        if len(row.table) > MOST_ROWS:
            yield Note(f"The measurements have {len(row.table):,} rows, too many for a picture here.")
        else:
            try:
                yield Picture(claim.chart(row.table), f"Again: {present.command(row)}")
            except Exception as error:  # a plugin's mistake
                yield Note(f"The picture cannot be drawn: {Failure.of(error).line}")
    for name, text in (
        ("Fault of the rule", claim.fault),
        ("Method", claim.method),
        ("Caveat", claim.caveat),
        ("Source", claim.source),
    ):
        if text:
            yield Note(f"{name}: {text}")
    for note in (*row.notes, *present.lost(row)):
        yield Note(note)
