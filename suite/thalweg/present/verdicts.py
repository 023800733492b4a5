"""A comparison as a table, as Markdown for a pull request, and as JUnit XML for CI."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from thalweg.present.numbers import DASH, number
from thalweg.present.table import markdown_table
from thalweg.scoring.compare import NOTHING
from thalweg.shown import markdown, shown, shown_lines

HEADINGS = ["workload", "optimizer", "metric", "baseline", "candidate", "difference", "interval", "verdict", ""]
_ORDER = {"worse": 0, "better": 1, "same": 2, NOTHING: 3}


def ordered(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a comparison, those with the verdict "worse" first."""
    rows: list[dict[str, Any]] = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    return sorted(rows, key=lambda row: _ORDER[row["verdict"]])


def cells(row: Mapping[str, Any], unit: str) -> list[str]:
    """The cells of a row, below ``HEADINGS``."""
    label = row["optimizer"] if row["optimizer"] == row["against"] else f"{row['optimizer']} (against {row['against']})"
    low, high = _signed(row["low"], row), _signed(row["high"], row)
    return [
        row["workload"],
        label,
        row["metric"],
        number(row["baseline"], unit),
        number(row["candidate"], unit),
        _signed(row["difference"], row),
        DASH if math.isnan(row["low"]) else f"{low} to {high}",
        row["verdict"],
        row["note"],
    ]


def _signed(value: float, row: Mapping[str, Any]) -> str:
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if row["relative"]:
        # a tenfold change reads better as a factor than in percent
        return f"{100 * value:+.3g}%" if abs(value) < 10 else f"{1 + value:.3g} times"
    return f"{100 * value:+.2f} pp"


def headline(verdict: str, table: pd.DataFrame, baseline: str, candidate: str) -> str:
    """The verdict, both sides, and how many rows have each verdict, in one line."""
    counts = {name: int((table["verdict"] == name).sum()) for name in _ORDER}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{verdict}: {candidate} against {baseline}" + (f" ({told})" if told else "")


def section(title: str, rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A section of Markdown for a pull request or a job summary."""
    parts = [f"**{markdown(title)}**", markdown_table(HEADINGS, rows)]
    return "\n\n".join(parts + (["\n".join(f"- {markdown(note)}" for note in notes)] if notes else []))


def junit(name: str, rows: Sequence[Mapping[str, Any]], told: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """JUnit XML with one test case a row.

    A row that is worse is a failure. A row without a comparison is skipped; where no row was compared, the first one
    is an error.
    """
    none = not any(row["verdict"] != NOTHING for row in rows)
    worse = sum(row["verdict"] == "worse" for row in rows)
    skipped = sum(row["verdict"] == NOTHING for row in rows)
    counts = {"tests": max(1, len(rows)), "failures": worse, "errors": int(none), "skipped": 0 if none else skipped}
    suites = ElementTree.Element("testsuites")
    attributes = {"name": f"thalweg compare {name}", "time": "0", **{key: str(value) for key, value in counts.items()}}
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for row, line in zip(rows, told, strict=True):
        title = f"{line[1]} {row['metric']}"
        case = ElementTree.SubElement(suite, "testcase", classname=row["workload"], name=title, time="0")
        text = f"{line[3]} to {line[4]}: {line[5]}, {line[6]} {line[8]}".strip()
        if row["verdict"] == "worse":
            ElementTree.SubElement(case, "failure", message=f"worse: {text}", type="worse").text = text
        elif row["verdict"] == NOTHING and not none:
            ElementTree.SubElement(case, "skipped", message=row["note"] or NOTHING)
        elif row["verdict"] == NOTHING and row is rows[0]:
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
