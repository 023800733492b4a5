"""A comparison as a table, as Markdown for a pull request, and as JUnit XML for CI."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from thalweg.present.numbers import DASH, number
from thalweg.present.table import markdown_table
from thalweg.scoring.compare import NOTHING
from thalweg.shown import markdown, shown, shown_lines

HEADINGS = ["workload", "optimizer", "metric", "baseline", "candidate", "difference", "interval", "verdict", ""]
_ORDER = {"worse": 0, "undecided": 1, "better": 2, "same": 3, NOTHING: 4}


def ordered(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a comparison, those with the verdict "worse" first, then the undecided ones."""
    return sorted(rows, key=lambda row: _ORDER[row["verdict"]])


def cells(row: Mapping[str, Any], unit: str) -> list[str]:
    """The cells of a row, below ``HEADINGS``."""
    label = row["optimizer"] if row["optimizer"] == row["against"] else f"{row['optimizer']} (against {row['against']})"
    low, high = _signed(row["low"], row, unit), _signed(row["high"], row, unit)
    return [
        row["workload"],
        label,
        row["metric"],
        number(row["baseline"], unit),
        number(row["candidate"], unit),
        _signed(row["difference"], row, unit),
        DASH if math.isnan(row["low"]) else f"{low} to {high}",
        row["verdict"],
        "; ".join(filter(None, [row["note"], undecided(row, unit)])),
    ]


def undecided(row: Mapping[str, Any], unit: str) -> str:
    """How large the loss of an undecided row may still be, and what would decide; empty for other rows."""
    if row["verdict"] != "undecided":
        return ""
    at_most = row["loss_at_most"]
    told = [
        f"may be as bad as {_signed(at_most, row, unit)}" if math.isfinite(at_most) else "may be worse by any amount"
    ]
    if row["smallest_p"] > row["tested_at"]:
        told.append(
            f"{row['seeds']} seeds give no p below {row['smallest_p']:.2g}, and this row needs {row['tested_at']:.2g}"
        )
    more = row["more_seeds"]
    if math.isinf(more):
        told.append("too close to its margin for a thousand more seeds")
    elif not math.isnan(more):
        told.append(f"about {more:.0f} more seed{'' if more == 1 else 's'} would decide")
    return ", ".join(told)


def _signed(value: float, row: Mapping[str, Any], unit: str) -> str:
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if row["relative"]:
        # a tenfold change reads better as a factor than in percent
        return f"{100 * value:+.3g}%" if abs(value) < 10 else f"{1 + value:.3g} times"
    if unit == "%":
        return f"{100 * value:+.2f} pp"
    return f"{'+' if value >= 0 else ''}{number(value, unit)}"


def headline(verdict: str, verdicts: Sequence[str], baseline: str, candidate: str) -> str:
    """The verdict, both sides, and how many rows have each verdict, in one line."""
    counts = {name: verdicts.count(name) for name in _ORDER}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{verdict}: {candidate} against {baseline}" + (f" ({told})" if told else "")


def section(title: str, rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A section of Markdown for a pull request or a job summary."""
    parts = [f"**{markdown(title)}**", markdown_table(HEADINGS, rows)]
    return "\n\n".join(parts + (["\n".join(f"- {markdown(note)}" for note in notes)] if notes else []))


def junit(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    told: Sequence[Sequence[str]],
    notes: Sequence[str],
    allow_undecided: bool = False,
) -> str:
    """JUnit XML with one test case a row.

    A row that is worse is a failure, and so is an undecided row, unless ``allow_undecided``: then it is skipped. A row
    without a comparison is skipped; where no row was compared, the first one is an error.
    """
    none = not any(row["verdict"] != NOTHING for row in rows)
    failing = ("worse",) if allow_undecided else ("worse", "undecided")
    passing = ("better", "same")
    failed = sum(row["verdict"] in failing for row in rows)
    skipped = sum(row["verdict"] not in (*failing, *passing) for row in rows)
    counts = {"tests": max(1, len(rows)), "failures": failed, "errors": int(none), "skipped": 0 if none else skipped}
    suites = ElementTree.Element("testsuites")
    attributes = {"name": f"thalweg compare {name}", "time": "0", **{key: str(value) for key, value in counts.items()}}
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for row, line in zip(rows, told, strict=True):
        title = f"{line[1]} {row['metric']}"
        case = ElementTree.SubElement(suite, "testcase", classname=row["workload"], name=title, time="0")
        text = f"{line[3]} to {line[4]}: {line[5]}, {line[6]} {line[8]}".strip()
        verdict = row["verdict"]
        if verdict in failing:
            ElementTree.SubElement(case, "failure", message=f"{verdict}: {text}", type=verdict).text = text
        elif verdict == "undecided":
            ElementTree.SubElement(case, "skipped", message=f"{verdict}: {text}")
        elif verdict == NOTHING and not none:
            ElementTree.SubElement(case, "skipped", message=row["note"] or NOTHING)
        elif verdict == NOTHING and row is rows[0]:
            ElementTree.SubElement(case, "error", message=NOTHING, type=NOTHING).text = row["note"]
    if not rows:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name="comparison", time="0")
        ElementTree.SubElement(case, "error", message=NOTHING, type=NOTHING)
    if notes:
        ElementTree.SubElement(suite, "system-err").text = "\n".join(map(shown, notes))
    for element in suites.iter():
        # XML allows no control characters, not even escaped
        element.attrib.update({key: shown_lines(value) for key, value in element.attrib.items()})
        element.text = element.text and shown_lines(element.text)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)
