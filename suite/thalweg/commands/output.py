"""Printing: tables for people, numbers with the digits that mean something.

Every text passes ``thalweg.shown`` here, so that no command can forget it: a string is one line, whatever it holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from thalweg.registry import PluginRecord
from thalweg.shown import cut, markdown, shown, shown_lines
from thalweg.store.documents import finite
from thalweg.store.trials import Unreadable


class SafeConsole(Console):
    """A console that shows strings as what they are made of: each is one line, and neither markup nor emoji codes.

    What is laid out over several lines is a ``Text`` made by ``lines``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich does, strings shown."""
        super().print(*(_line(one) if isinstance(one, str) else one for one in objects), **settings)

    def print_json(self, json: str | None = None, **settings: Any) -> None:
        """A document indented and in colours, in ASCII: whatever else it holds is escaped, as JSON does it."""
        text = Text(_in_ascii(_parsed(json), indent=2))
        if len(text) <= LONGEST_COLOURED:
            JSONHighlighter().highlight(text)
        super().print(text, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly."""
        raise BrokenPipeError


def console() -> SafeConsole:
    """Standard output; without a terminal, wide enough that nothing is cut."""
    made = SafeConsole()
    return made if made.is_terminal else SafeConsole(width=200)


def errors() -> SafeConsole:
    """Standard error; lines are left whole, for logs and for whoever copies them."""
    return SafeConsole(stderr=True, soft_wrap=True)


LONGEST_COLOURED = 200_000
"""Signs of a document in colours: a megabyte of them takes more than a second."""
LONGEST_LINE = 10_000
"""Signs of a text from somewhere that are printed in one line, or in one cell: nobody reads more."""


def _line(text: str) -> str:
    return shown(cut(text, LONGEST_LINE))


def lines(text: str) -> Text:
    """A text of several lines, for a console or the cell of a table."""
    return Text(shown_lines(text))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """Print a table; columns named in ``right`` are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    aligned_right = {shown(column) for column in right}
    for column in map(shown, columns):
        # numbers are never cut or folded, text is folded
        aligned = column in aligned_right
        table.add_column(
            column,
            justify="right" if aligned else "left",
            no_wrap=aligned,
            overflow="fold",
            min_width=4 if aligned else 10,
        )
    for row in rows:
        # as text: a bracket in a message is no markup
        table.add_row(*(cell if isinstance(cell, Text) else Text(_line(str(cell))) for cell in row))
    if title:
        console().print(title, style="bold")
    console().print(table)


def print_json(document: dict[str, Any], indent: int | None = 1) -> None:
    """Print a JSON document of schema 1; nan and infinity become null. Without ``indent`` it is one line, and quick."""
    document = {"schema": 1, **document}
    # not through rich: no wrapping, no colours
    print(_in_ascii(document, indent))  # noqa: T201


def _in_ascii(document: Any, indent: int | None) -> str:
    """JSON without a control character: Python's leaves DEL as it is, which is only ever part of a text."""
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(document), indent=indent, allow_nan=False)
    return text.replace("\x7f", "\\u007f")


def _parsed(text: str | None) -> Any:
    return json.loads(text or "null")


def print_lines(text: str) -> None:
    """Print a text of several lines as it is, not wrapped: Markdown and XML, whose values were escaped as theirs are.

    What acts or hides in it is written out all the same.
    """
    print(shown_lines(text))  # noqa: T201


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, whose cells are text."""
    head = ["| " + " | ".join(map(markdown, headings)) + " |", "|" + " --- |" * len(headings)]
    return "\n".join([*head, *("| " + " | ".join(map(markdown, row)) + " |" for row in rows)])


def number(value: float, unit: str = "", digits: int = 4) -> str:
    """A number for people: fractions with unit % in percent, bytes whole, others with so many digits; "–" for none.

    >>> number(0.97333, "%"), number(1.234e-9), number(float("nan"))
    ('97.3%', '1.234e-09', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "bytes":
        return f"{value:,.0f}"
    return f"{100 * value:.1f}%" if unit == "%" else f"{value:.{digits}g}"


def warn_of_unreadable(items: Iterable[Unreadable]) -> None:
    """Name on standard error what is among the results and cannot be read, and why."""
    for item in items:
        errors().print(f"{item.path} cannot be read: {item.reason}", markup=False)


def warn_of_failures(plugins: Iterable[PluginRecord]) -> None:
    """Name each plugin that failed to load, and why, on standard error."""
    for record in plugins:
        if record.error:
            errors().print(f"plugin {record.name!r} failed to load: {record.error}", markup=False)
