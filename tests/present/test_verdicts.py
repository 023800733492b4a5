"""Comparisons in Markdown and as JUnit XML, whatever their texts hold."""

from __future__ import annotations

from xml.etree import ElementTree

from strange_texts import EVIL, SEEN
from thalweg.present.table import markdown_table
from thalweg.present.verdicts import junit, section
from thalweg.scoring.compare import NOTHING
from thalweg.shown import markdown


def test_a_cell_of_markdown_holds_its_text() -> None:
    evil = "a|b `c` <script> [x](http://y) ![i](z) *d* \\ \n| e |"
    table = markdown_table(["h|"], [[evil]])
    lines = table.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("| ") and line.endswith(" |") for line in (lines[0], lines[2]))
    # of the signs that mean something each has an odd number of backslashes before it
    inside = lines[2][2:-2]
    for place, sign in enumerate(inside):
        if sign in "|`[]*":
            before = inside[:place]
            assert (len(before) - len(before.rstrip("\\"))) % 2 == 1, inside
    assert "<" not in inside
    assert markdown("adam:lr=0.1") == "adam:lr=0.1"
    assert "<" not in section("t<", [[evil] * 9], [evil])


def test_junit_is_xml_whatever_it_holds() -> None:
    row = {"workload": EVIL, "metric": EVIL, "verdict": "worse", "note": ""}
    other = row | {"verdict": NOTHING, "note": f"{EVIL}\ud800\ufffe"}
    cells = [EVIL] * 9
    suites = ElementTree.fromstring(junit(EVIL, [row, other], [cells, cells], [EVIL]))
    (case, _) = suites.iter("testcase")
    assert case.get("name", "").replace("\n", "\\n").replace("\t", "\\t") == f"{SEEN} {SEEN}"
