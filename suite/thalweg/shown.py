"""Makes texts from outside safe to show: characters that act, hide or mislead are escaped.

Names, reasons and messages come from results, benchmark files, plugins and the command line. Control characters in them
act on a terminal, bidirectional overrides reorder a line, and characters without width hide in names. ``shown`` writes
such characters as Python's escapes. A line break becomes ``\\n``, so that no value forges a line.

``brief`` shortens a long value in a message to its beginning and its length.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

LONGEST_VALUE = 80
"""Characters of a value, or of a name, in a message."""

_DEEPEST = 5
"""Lists within lists that a message shows."""

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\xad\u034f\u061c\u06dd\u070f\u08e2\u180b-\u180f\ufeff\ufff9-\uffff"  # soft hyphen, joiners, marks of order
    "\u0600-\u0605\u0890\u0891"  # signs around Arabic numbers
    "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # fillers that show nothing
    "\u200b-\u200f\u2028-\u202f\u205f-\u206f"  # zero width, line and paragraph separators, overrides, isolates
    "\ufe00-\ufe0f\ufdd0-\ufdef"  # variation selectors, and no characters
    "\ud800-\udfff"  # halves of surrogate pairs
    "\U000110bd\U000110cd\U00013430-\U00013455\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # tags and further selectors
    "]"
)
_HIDDEN_BUT_LINES = re.compile(f"(?!\n){_HIDDEN.pattern}")


def shown(text: str) -> str:
    r"""A text as one line, with escapes for characters that act, hide or mislead.

    >>> print(shown("up\x1b[A and\nbelow"))
    up\x1b[A and\nbelow
    """
    return _HIDDEN.sub(_escaped, text)


def shown_lines(text: str) -> str:
    """A text of several lines, such as a benchmark's file, with other characters escaped as in ``shown``."""
    return _HIDDEN_BUT_LINES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def cut(text: str, most: int = LONGEST_VALUE) -> str:
    """A text; where it has more than ``most`` characters, its beginning and its length.

    >>> cut("a" * 1000, 5)
    'aaaaa… (1,000 characters)'
    """
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def brief(value: Any, most: int = LONGEST_VALUE) -> str:
    """A value as ``repr`` writes it; for a long value the beginning and the length. A long value costs no more.

    >>> brief([1, "two"]), brief("x" * 1000, 3)
    ("[1, 'two']", "'xxx'… (1,000 characters)")
    >>> brief([0] * 1000, 9)
    '[0, 0, 0,… (1,000 entries)'
    """
    text = ""
    for piece in _pieces(value, most, depth=0):
        text += piece
        if len(text) > most and isinstance(value, list | tuple | dict):
            return f"{text[:most]}… ({len(value):,} entries)"
    return text if isinstance(value, str) else cut(text, most)


def digits(number: int) -> int:
    """The number of decimal digits of a whole number, up to one too many. Python does not write very long numbers.

    >>> digits(999), digits(-(10**5000)), digits(0)
    (3, 5001, 1)
    """
    if number.bit_length() < 10_000:
        return len(str(abs(number)))
    return int(number.bit_length() * 0.30102999566398120) + 1


def _pieces(value: Any, most: int, depth: int) -> Iterator[str]:
    """The text of ``repr`` in pieces, so that a reader can stop early."""
    match value:
        case str() if len(value) > most:
            yield f"{value[:most]!r}… ({len(value):,} characters)"
        case int() if value.bit_length() > 4 * most:
            yield f"a number of {digits(value):,} digits"
        case list() | dict() | tuple() if depth > _DEEPEST:
            yield "…"
        case dict():
            yield from _entries("{}", (_pair(key, one, most, depth) for key, one in value.items()))
        case list():
            yield from _entries("[]", (_pieces(one, most, depth + 1) for one in value))
        case tuple() if len(value) != 1:
            yield from _entries("()", (_pieces(one, most, depth + 1) for one in value))
        case _:
            yield repr(value)


def _pair(key: Any, value: Any, most: int, depth: int) -> Iterator[str]:
    yield from _pieces(key, most, depth + 1)
    yield ": "
    yield from _pieces(value, most, depth + 1)


def _entries(brackets: str, entries: Iterable[Iterator[str]]) -> Iterator[str]:
    yield brackets[0]
    for number, entry in enumerate(entries):
        if number:
            yield ", "
        yield from entry
    yield brackets[1]


def some(names: Sequence[str], most: int = 10) -> str:
    """Names joined by commas; of many names the first ones, and the number of the others.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    told = ", ".join(cut(name) for name in itertools.islice(names, most))
    return told + (f" and {len(names) - most:,} more" if len(names) > most else "")


MARKDOWN = re.compile(r"[\\`*\[\]|~]")
_ENTITIES: Mapping[str, str] = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(text: str) -> str:
    r"""A text escaped for Markdown, so that it does not end a table's cell, and is no code, link or HTML.

    >>> print(markdown("a|b `c` <b>"))
    a\|b \`c\` &lt;b&gt;
    """
    entities = re.sub("[&<>]", lambda found: _ENTITIES[found[0]], shown(text))
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", entities)


FORMULAS = tuple("=+-@\t\r\n＝＋－＠")
"""Characters that begin a formula in a spreadsheet."""


def csv_cell(text: str) -> str:
    r"""A text as a cell of CSV. An apostrophe before a formula makes spreadsheets read it as text.

    >>> csv_cell("=1+1"), csv_cell("adam")
    ("'=1+1", 'adam')
    """
    return ("'" if text.startswith(FORMULAS) else "") + shown(text)
