"""Printing: tables for people, numbers with the digits that mean something."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thalweg.registry import PluginRecord
from thalweg.store.documents import finite
from thalweg.store.results import Unreadable


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly."""
        raise BrokenPipeError


def console() -> Console:
    """Standard output; without a terminal, wide enough that nothing is cut."""
    made = _Console(highlight=False)
    return made if made.is_terminal else _Console(highlight=False, width=200)


def errors() -> Console:
    """Standard error; lines are left whole, for logs and for whoever copies them."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """Print a table; columns named in ``right`` are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    for column in columns:
        # numbers are never cut or folded, text is folded
        aligned = column in right
        table.add_column(
            column,
            justify="right" if aligned else "left",
            no_wrap=aligned,
            overflow="fold",
            min_width=4 if aligned else 10,
        )
    for row in rows:
        # as text: a bracket in a message is no markup
        table.add_row(*(Text(str(cell)) for cell in row))
    if title:
        console().print(title, style="bold", markup=False)
    console().print(table)


def print_json(document: dict[str, Any], indent: int | None = 1) -> None:
    """Print a JSON document of schema 1; nan and infinity become null. Without ``indent`` it is one line, and quick."""
    document = {"schema": 1, **document}
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(document), indent=indent, allow_nan=False)
    # not through rich: no wrapping, no colours
    print(text)  # noqa: T201


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
