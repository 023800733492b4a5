"""Writes docs/lecture/: the ledger of claims as a reading path, a page for each section, with its pictures.

    python docs/lecture.py [--results results/reference]

Every sentence about a result, every number and every picture comes from measurements and from the claims themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from thalweg.claims.read import ClaimRow, entries_of, read_row
from thalweg.present import claims as present
from thalweg.present.figures import svg_of
from thalweg.present.sentences import capital
from thalweg.registry import Registry, load_registry
from thalweg.shown import markdown
from thalweg.store.claims import ClaimResults
from thalweg_plugins.claims.lecture import RULES, SECTIONS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "lecture"
PICTURES = "pictures"
REFERENCE = ROOT / "results" / "reference"

RULES_COMMIT = "115b581"
"""The commit that fixed the rules."""
RULES_SHA256 = "a3200a918ba6981884ec18e628531c6469fe9e50b3b2274aa1c7e32da575a603"
"""The digest of the file of rules at that commit."""

READING = (
    "Value, interval and bound below are those of one part of a claim: the first with the claim's verdict, else the",
    "first that decides. In the pictures a line is the median of the seeds, and a band runs from the smallest to the",
    "largest seed. A point is one seed; in K3 and L6 it is one configuration. Paths, single directions and surfaces",
    "(C6, J, K1, K4) are those of the first seed.",
)
"""How to read tables and pictures."""

TIERS = {"quick": "two CPU cores", "cpu": "Fashion-MNIST on two CPU cores", "full": "a GPU"}


def rows_of(registry: Registry, results: ClaimResults) -> dict[str, list[ClaimRow]]:
    """The rows of each claim of the lecture: the quick tier, and other tiers that are measured."""
    entries = [one for one in entries_of(registry) if one.plugin.name == "thalweg_plugins.claims"]
    found: dict[str, list[ClaimRow]] = {}
    for entry in entries:
        rows = [read_row(entry, tier, results, registry) for tier in entry.component.tiers]
        found[entry.name] = [row for row in rows if row.tier == "quick" or row.stored]
    return found


def pages(rows: dict[str, list[ClaimRow]]) -> dict[str, str]:
    """The text of each page, by file name."""
    found = {"index.md": index(rows)}
    for letter, title in SECTIONS.items():
        mine = {id_: each for id_, each in rows.items() if id_.startswith(letter)}
        if mine:
            found[f"{letter.lower()}.md"] = section(letter, title, mine)
    return found


def pictures(rows: dict[str, list[ClaimRow]]) -> Iterator[tuple[str, str]]:
    """Name and SVG of each claim's picture."""
    for each in rows.values():
        for row in each:
            if row.decision is not None:
                yield picture_of(row), smaller(svg_of(row.claim.chart(row.table)))


def picture_of(row: ClaimRow) -> str:
    """The file name of a claim's picture."""
    return f"{row.entry.name.lower()}{'' if row.tier == 'quick' else f'-{row.tier}'}.svg"


def smaller(svg: str) -> str:
    """The picture with the coordinates of paths in two digits behind the point, which no eye tells from more.

    Texts keep their numbers.
    """

    def rounded(found: re.Match[str]) -> str:
        return re.sub(r"-?\d+\.\d{3,}", lambda one: f"{float(one[0]):.2f}".rstrip("0").rstrip("."), found[0])

    return re.sub(r' d="[^"]*"|translate\([^)]*\)', rounded, svg)


def index(rows: dict[str, list[ClaimRow]]) -> str:
    """The first page: all verdicts."""
    quick = [each[0] for each in rows.values() if each]
    lines = [
        "# The lecture, section by section",
        "",
        "Each statement of the lecture stands here with the measurement that decides it: what the lecture says, what",
        "was done, what came out, under which condition, and what later literature says. [Claims](../claims.md)",
        "explains rules and verdicts. `python docs/lecture.py` writes these pages from `results/reference`.",
        "",
        f"Now there are {present.counts(quick)}.",
        "",
        *READING,
        "",
        f"Commit `{RULES_COMMIT}` fixed all rules before any run, in `plugins/thalweg_plugins/claims/rules.toml`.",
        f"The SHA-256 of the file is `{hashlib.sha256(RULES.read_bytes()).hexdigest()}`.",
        "",
        "```{toctree}",
        ":maxdepth: 1",
        "",
        *[letter.lower() for letter in SECTIONS if any(id_.startswith(letter) for id_ in rows)],
        "```",
        "",
    ]
    for letter, title in SECTIONS.items():
        mine = [each[0] for id_, each in rows.items() if id_.startswith(letter) and each]
        if mine:
            lines += [f"## {letter}. {title}", "", *ledger(mine, letter), ""]
    return "\n".join(lines).rstrip() + "\n"


def ledger(rows: Sequence[ClaimRow], letter: str) -> list[str]:
    """A line for each claim, linked to its section."""
    table = present.ledger(rows)
    head, rule, *lines = table.markdown().splitlines()
    return [head, rule, *(re.sub(r"^\| (\w+) \|", rf"| [\1]({letter.lower()}.md) |", line) for line in lines)]


def section(letter: str, title: str, rows: dict[str, list[ClaimRow]]) -> str:
    """The page of a section."""
    lines = [f"# {letter}. {title}", ""]
    for each in rows.values():
        claim = each[0].claim
        lines += [f"## {each[0].entry.name} · {markdown(capital(claim.summary))}", ""]
        lines += [f"**What the lecture says.** {markdown(claim.statement)}", ""]
        if letter == "L":
            lines[-2] = f"**What the paper says.** {markdown(claim.statement)}"
        lines += [f"**What was done.** {markdown(claim.method)}", ""]
        for row in each:
            lines += outcome(row)
        if claim.fault:
            lines += [f"**The rule cannot decide.** {markdown(claim.fault)}", ""]
        if claim.caveat:
            lines += [f"**What to keep in mind.** {markdown(claim.caveat)}", ""]
        lines += [f"Source: {markdown(claim.source)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def outcome(row: ClaimRow) -> Iterator[str]:
    """What came out on a tier."""
    if row.decision is None or row.stored is None:
        yield from (f"**What came out** ({row.tier}). Not measured.", "")
        return
    kind = present.kind_of(row.claim)
    yield f"![{row.entry.name}, tier {row.tier}]({PICTURES}/{picture_of(row)})"
    yield ""
    mark = present.MARKS[row.verdict]
    condition = (
        f" {markdown(row.decision.condition[0].upper() + row.decision.condition[1:])}."
        if row.decision.condition
        else ""
    )
    verdict = f"**{mark} {present.verdict_of_row(row)}**"
    yield f"**What came out** on {TIERS.get(row.tier, row.tier)} ({kind}): {verdict}.{condition}"
    yield ""
    yield present.parts_table(row.decision.parts).markdown()
    yield ""
    for note in (*row.notes, *present.lost(row)):
        yield from (f"- {markdown(note)}", "")
    kept = row.stored.document
    cost = f"{row.seconds:.1f} s, of which {kept.training_seconds:.1f} s of training"
    yield f"{row.seeds} of {row.claim.seeds[row.tier]} seeds; {cost}. Again: `{present.command(row)}`"
    yield ""


def main(words: Sequence[str]) -> None:
    """Write pages and pictures; files of claims that are gone are removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=REFERENCE)
    registry = load_registry()
    rows = rows_of(registry, ClaimResults(parser.parse_args(words).results))
    (FOLDER / PICTURES).mkdir(parents=True, exist_ok=True)
    texts = pages(rows)
    drawn = dict(pictures(rows))
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    for name, svg in drawn.items():
        (FOLDER / PICTURES / name).write_text(svg, encoding="utf-8")
    for path in (*FOLDER.glob("*.md"), *(FOLDER / PICTURES).glob("*.svg")):
        if path.name not in texts and path.name not in drawn:
            path.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
