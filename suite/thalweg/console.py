"""Printing to the terminal: lines, tables and JSON.

Every printed text passes ``thalweg.shown`` here, so that no command can forget it. A string is one line, whatever it
holds.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from thalweg.registry import PluginRecord
from thalweg.shown import cut, shown, shown_lines
from thalweg.store.documents import finite
from thalweg.store.trials import Unreadable


class SafeConsole(Console):
    """A console that prints each string as one line of text, without markup or emoji codes.

    A text of several lines is a ``Text`` made by ``lines``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print as Rich does, with each string on one line."""
        super().print(*(_line(one) if isinstance(one, str) else one for one in objects), **settings)

    def print_json(self, json: str | None = None, **settings: Any) -> None:
        """Print a document indented, in colours and in ASCII; JSON's escapes stand for all other characters."""
        text = Text(_in_ascii(_parsed(json), indent=2))
        if len(text) <= LONGEST_COLOURED:
            JSONHighlighter().highlight(text)
        super().print(text, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Raise the error, so that the command line ends quietly."""
        raise BrokenPipeError


def console() -> SafeConsole:
    """Standard output; where it is no terminal, lines may be 200 characters wide."""
    made = SafeConsole()
    return made if made.is_terminal else SafeConsole(width=200)


def errors() -> SafeConsole:
    """Standard error; lines are not wrapped, so that logs and copies keep them whole."""
    return SafeConsole(stderr=True, soft_wrap=True)


def terminal() -> SafeConsole:
    """Standard error by a descriptor of its own: a live display goes on while a trial's output is kept."""
    try:
        own = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # no file of the system
        return errors()
    return SafeConsole(file=os.fdopen(own, "w", encoding="utf-8", errors="replace"), soft_wrap=True)


LONGEST_COLOURED = 200_000
"""Characters of a document that is printed in colours; colouring a megabyte takes more than a second."""
LONGEST_LINE = 10_000
"""Characters of a text that are printed in one line or cell; nobody reads more."""


def _line(text: str) -> str:
    return shown(cut(text, LONGEST_LINE))


def lines(text: str) -> Text:
    """A text of several lines, for a console or the cell of a table."""
    return Text(shown_lines(text))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """Print a table; columns whose headings are in ``right`` are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    aligned_right = {shown(column) for column in right}
    for column in map(shown, columns):
        # text is folded over several lines, a number never is
        aligned = column in aligned_right
        table.add_column(
            column,
            justify="right" if aligned else "left",
            no_wrap=aligned,
            overflow="fold",
            min_width=4 if aligned else 10,
        )
    for row in rows:
        # as Text, in which a bracket is no markup
        table.add_row(*(cell if isinstance(cell, Text) else Text(_line(str(cell))) for cell in row))
    if title:
        console().print(title, style="bold")
    console().print(table)


def print_json(document: dict[str, Any], indent: int | None = 1) -> None:
    """Print a JSON document of schema 1; nan and infinity become null. Without ``indent`` it is one line."""
    document = {"schema": 1, **document}
    # not through Rich, which would wrap and colour it
    print(_in_ascii(document, indent))  # noqa: T201


def _in_ascii(document: Any, indent: int | None) -> str:
    """JSON without control characters; Python's JSON leaves one, DEL, which can stand in texts only."""
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(document), indent=indent, allow_nan=False)
    return text.replace("\x7f", "\\u007f")


def _parsed(text: str | None) -> Any:
    return json.loads(text or "null")


def print_lines(text: str) -> None:
    """Print a document of several lines without wrapping, such as Markdown or XML whose values are escaped.

    Control and hidden characters are written out here too.
    """
    print(shown_lines(text))  # noqa: T201


def print_text(text: str) -> None:
    """Print a file's text unchanged, such as CSV whose cells are escaped."""
    print(text, end="")  # noqa: T201


def tell(sentence: str) -> None:
    """Print a sentence on standard error."""
    errors().print(sentence, markup=False)


def warn_of_unreadable(items: Iterable[Unreadable]) -> None:
    """Name each result that cannot be read, and why, on standard error."""
    for item in items:
        tell(item.sentence)


def warn_of_failures(plugins: Iterable[PluginRecord]) -> None:
    """Name each plugin that failed to load, and why, on standard error."""
    for record in plugins:
        if record.error:
            errors().print(f"plugin {record.name!r} failed to load: {record.error}", markup=False)
