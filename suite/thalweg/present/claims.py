"""Claims in words and numbers: verdicts, parts against their bounds, and the document that machines read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from thalweg.claims.read import ClaimRow
from thalweg.contracts.claim import Claim, Part
from thalweg.present.numbers import DASH, number
from thalweg.present.sentences import count
from thalweg.present.table import Column, Table

MARKS = {
    "holds": "✓",
    "holds conditionally": "◐",
    "not reproduced": "✗",
    "inconclusive": "?",
    "not measured": "–",
    "not decided": "!",
}
"""A sign for each verdict."""
LARGEST_LOG = 700.0
"""Logarithms of ratios from here on are written as infinity, because their ratios exceed float64."""
FIRST = "of the part that is shown first: the first one with the claim's verdict, else the first one that decides"


def natural(part: Part, value: float | None) -> float:
    """A part's number as people read it: the ratio of a log ratio."""
    if value is None or math.isnan(value):
        return math.nan
    if part.unit != "log ratio":
        return value
    return math.exp(value) if value < LARGEST_LOG else math.inf


def written(part: Part, value: float | None) -> str:
    """A part's number with three digits; with six where three would round a share or a cosine to 1.

    >>> part = Part("cosine", 0.9999999, 0.99, 1.0, 0.99999, "holds")
    >>> written(part, 0.99999), written(part, 0.12345), written(part, 1.0001)
    ('0.99999', '0.123', '1')
    """
    found = natural(part, value)
    if math.isinf(found):
        return "infinity" if found > 0 else "-infinity"
    text = number(found, digits=3)
    return number(found, digits=6) if text in ("1", "-1") and abs(found) < 1 else text


def bound(part: Part) -> str:
    """The bound in words, such as "above 3" or "between 0.9 and 1.3"."""
    low = written(part, part.threshold)
    if part.side == "within":
        return f"between {low} and {written(part, part.upper)}"
    return f"{part.side} {low}"


def interval(part: Part) -> str:
    """The interval's ends; a dash where there is none."""
    if math.isnan(part.low):
        return DASH
    low, high = (written(part, end) for end in (part.low, part.high))
    return low if low == high else f"{low} to {high}"


def parts_table(parts: Sequence[Part]) -> Table:
    """The parts of a decision with their intervals, bounds and verdicts."""
    columns = [
        Column("part", "part", lambda row: row["part"].name, kind="text"),
        Column("condition", "condition", lambda row: row["part"].condition, kind="text",
               when=any(part.condition and part.condition not in part.name for part in parts)),
        Column("value", "value", lambda row: written(row["part"], row["part"].statistic), kind="text",
               help="the mean, of a ratio the geometric mean; for a theorem the seed nearest to breaking it"),
        Column("interval", "interval", lambda row: interval(row["part"]), kind="text",
               help="95% interval of this part by itself; Holm's procedure may ask more under conditions; "
               "for a theorem the smallest and the largest value of a seed"),
        Column("bound", "bound", lambda row: bound(row["part"]), kind="text"),
        Column("verdict", "verdict", lambda row: verdict_of(row["part"]), kind="text"),
    ]  # fmt: skip
    return Table([column for column in columns if column.when], [{"part": part} for part in parts])


def verdict_of_row(row: ClaimRow) -> str:
    """The verdict of a claim; of a rule that turned out unable to decide, with these words.

    The rules were fixed before the first run and stay, so a rule's fault is told and not mended.
    """
    return f"{row.verdict} (the rule cannot decide)" if row.decision and row.claim.fault else row.verdict


def verdict_of(part: Part) -> str:
    """The verdict of a part; a part that decides nothing says so."""
    return f"{part.verdict} (reported only)" if part.reported else part.verdict


def ledger(rows: Sequence[ClaimRow]) -> Table:
    """One line for each claim."""

    def shown(row: Any, key: str) -> str:
        decision = row["row"].decision
        if decision is None:
            return DASH
        part = decision.deciding
        return {"value": lambda: written(part, part.statistic), "interval": lambda: interval(part),
                "bound": lambda: bound(part)}[key]()  # fmt: skip

    return Table(
        [
            Column("id", "claim", lambda row: row["row"].entry.name, kind="text"),
            Column(
                "verdict",
                "verdict",
                lambda row: f"{MARKS[row['row'].verdict]} {verdict_of_row(row['row'])}",
                kind="text",
            ),
            Column("summary", "what", lambda row: row["row"].claim.summary, kind="text"),
            Column("value", "value", lambda row: shown(row, "value"), kind="text", help=FIRST),
            Column("interval", "interval", lambda row: shown(row, "interval"), kind="text", help=FIRST),
            Column("bound", "bound", lambda row: shown(row, "bound"), kind="text", help=FIRST),
            Column("seeds", "seeds", lambda row: str(row["row"].seeds), kind="text"),
            Column("seconds", "s", lambda row: f"{row['row'].seconds:.0f}" if row["row"].stored else DASH, kind="text"),
        ],
        [{"row": row} for row in rows],
    )


def kind_of(claim: Claim) -> str:
    """How a claim is decided, in words."""
    if claim.theorem:
        return "a theorem, every seed must keep the bounds"
    return f"95% intervals over {claim.intervals_over}"


def counts(rows: Sequence[ClaimRow]) -> str:
    """How many claims have which verdict."""
    verdicts = [row.verdict for row in rows]
    found = [f"{verdicts.count(verdict)} {verdict}" for verdict in MARKS if verdict in verdicts]
    return f"{count(len(rows), 'claim')}: {', '.join(found)}" if found else "no claims"


def lost(row: ClaimRow) -> list[str]:
    """The seeds without a value, each with its parts and its reason."""
    if row.decision is None:
        return []
    found: dict[str, list[str]] = {}
    for part in row.decision.parts:
        for reason in part.lost:
            found.setdefault(reason, []).append(part.name)
    return [f"{reason} ({parts[0] if len(parts) == 1 else f'{len(parts)} parts'})" for reason, parts in found.items()]


def command(row: ClaimRow) -> str:
    """The command that makes the measurements again."""
    plugin = f" --plugin {row.entry.plugin.name}.py" if row.entry.plugin.origin == "file" else ""
    return f"thalweg claims run {row.entry.name} --tier {row.tier} --fresh{plugin}"


def document(row: ClaimRow) -> dict[str, Any]:
    """The claim for ``--json``; without measurements the numbers are null."""
    decision = row.decision
    part = decision.deciding if decision else None
    claim = row.claim
    kept = row.stored.document if row.stored else None
    return {
        "id": row.entry.name,
        "summary": claim.summary,
        "statement": claim.statement,
        "section": claim.section,
        "source": claim.source,
        "theorem": claim.theorem,
        "tier": row.tier,
        "verdict": decision.verdict if decision else None,
        "statistic": part.statistic if part else None,
        "low": part.low if part else None,
        "high": part.high if part else None,
        "threshold": part.threshold if part else None,
        "upper": part.upper if part else None,
        "side": part.side if part else None,
        "unit": part.unit if part else None,
        "condition": decision.condition if decision else "",
        "parts": [vars(one) | {"lost": list(one.lost)} for one in decision.parts] if decision else [],
        "seeds": row.seeds,
        "seeds_wanted": claim.seeds.get(row.tier),
        "seconds": round(row.seconds, 3) if row.stored else None,
        "measuring_seconds": round(sum(one.seconds for one in kept.measured.values()), 3) if kept else None,
        "training_seconds": round(kept.training_seconds, 3) if kept else None,
        "method": claim.method,
        "caveat": claim.caveat,
        "fault": claim.fault,
        "notes": [*row.notes, *lost(row)],
        "environment": kept.environment if kept else None,
        "command": command(row),
    }
