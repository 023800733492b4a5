"""A table has equal content in text, in Markdown, in a report and in the app."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from thalweg.present.numbers import BYTES, COUNT, GENERAL, PERCENT, WHOLE, Format, format_of, interval, number
from thalweg.present.table import Column, table

ROWS = pd.DataFrame({"name": ["a|b", "c"], "share": [0.5, math.nan], "line": [[1.0, 2.0], []]})
COLUMNS = [
    Column("name", "name", lambda row: row["name"], kind="text"),
    Column("share", "share", lambda row: row["share"], PERCENT),
    Column("curve", "curve", lambda row: row["line"], kind="sparkline"),
    Column("never", "never", lambda row: row["no such column"], when=False),
]


def test_a_table_of_text_leaves_out_sparklines_and_columns_that_are_not_asked_for() -> None:
    made = table(COLUMNS, ROWS)
    assert made.headings == ["name", "share"]
    assert made.cells() == [["a|b", "50.0%"], ["c", "–"]]
    assert made.right == ["share"]


def test_markdown_escapes_cells() -> None:
    assert table(COLUMNS, ROWS).markdown().splitlines() == [
        "| name | share |",
        "| --- | --- |",
        r"| a\|b | 50.0% |",
        "| c | – |",
    ]


def test_a_table_that_sorts_holds_numbers_as_its_format_writes_them() -> None:
    frame = table(COLUMNS, ROWS).frame()
    assert list(frame.columns) == ["name", "share", "curve"]
    assert frame["share"].tolist()[0] == 50.0
    assert math.isnan(frame["share"].tolist()[1])
    assert frame["curve"].tolist() == [[1.0, 2.0], []]


def test_an_empty_table_has_its_headings() -> None:
    made = table(COLUMNS, ROWS.iloc[:0])
    assert made.headings == ["name", "share"]
    assert made.cells() == []
    assert list(made.frame().columns) == ["name", "share", "curve"]


@pytest.mark.parametrize("form", [PERCENT, GENERAL, WHOLE])
@pytest.mark.parametrize("value", [0.0, 0.12345, 1.0, 123.456, 1e-9])
def test_streamlit_and_text_write_a_number_alike(form: Format, value: float) -> None:
    assert form.printf.replace("%%", "\0") % (form.factor * value) == form.text(value).replace("%", "\0")


def test_units_decide_the_format() -> None:
    assert (format_of("%"), format_of("bytes"), format_of("s")) == (PERCENT, BYTES, GENERAL)
    assert [number(12345.678, "bytes"), number(0.5, "%"), number(12345.678), number(2.0, digits=3)] == [
        "12,346", "50.0%", "1.235e+04", "2",
    ]  # fmt: skip
    assert [number(None), number(math.inf), COUNT.text(9240)] == ["–", "–", "9,240"]
    assert interval(math.nan, math.nan, GENERAL) == "–"
