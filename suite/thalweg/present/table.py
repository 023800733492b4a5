"""A table that is defined once, and printed, written as Markdown, put on a page or into a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from thalweg.present.numbers import Format
from thalweg.shown import markdown

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column: its heading, and how a row's value is found and written."""

    name: str
    """The column's name in a data frame."""
    heading: str
    value: Callable[[Row], Any]
    """A number where the column has a format, a list of numbers where it is a sparkline, else text."""
    format: Format | None = None
    kind: Literal["text", "number", "sparkline"] = "number"
    """How it is aligned: text to the left, numbers to the right. Tables of text leave sparklines out."""
    help: str = ""
    """The tooltip of the heading, in the app."""
    width: int | None = None
    """Pixels, in the app."""
    pinned: bool = False
    """Whether the column stays while the others scroll, in the app."""
    when: bool = True
    """Whether the table has this column."""


@dataclass(frozen=True)
class Table:
    """Columns, and the rows that they read."""

    columns: Sequence[Column]
    rows: Sequence[Row]

    @property
    def written(self) -> list[Column]:
        """The columns of a table of text."""
        return [column for column in self.columns if column.kind != "sparkline"]

    @property
    def headings(self) -> list[str]:
        """The headings of a table of text."""
        return [column.heading for column in self.written]

    @property
    def right(self) -> list[str]:
        """The headings of columns that are aligned to the right."""
        return [column.heading for column in self.written if column.kind != "text"]

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[_cell(column, row) for column in self.written] for row in self.rows]

    def frame(self) -> pd.DataFrame:
        """The rows as values, for a table that sorts: numbers times the factor of their format."""
        return pd.DataFrame({column.name: [_number(column, row) for row in self.rows] for column in self.columns})

    def markdown(self) -> str:
        """The table in Markdown."""
        return markdown_table(self.headings, self.cells())


def table(columns: Iterable[Column], rows: pd.DataFrame) -> Table:
    """A table of a data frame's rows, with the columns that it has."""
    records = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
    return Table([column for column in columns if column.when], records)


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, whose cells are text."""
    head = ["| " + " | ".join(map(markdown, headings)) + " |", "|" + " --- |" * len(headings)]
    return "\n".join([*head, *("| " + " | ".join(map(markdown, row)) + " |" for row in rows)])


def _cell(column: Column, row: Row) -> str:
    value = column.value(row)
    return column.format.text(value) if column.format else str(value)


def _number(column: Column, row: Row) -> Any:
    value = column.value(row)
    return column.format.factor * value if column.format else value
