"""Cells of tables and texts of logs as numbers, truth values and texts."""

from __future__ import annotations

import re
from typing import Any, TypeGuard

import numpy as np

MISSING = ("", "NA", "N/A", "n/a", "null", "None", "<NA>")
"""What is not measured. ``nan`` is a number that a diverged training gives."""

_SPECIAL = {"nan": np.nan, "inf": np.inf, "infinity": np.inf, "-inf": -np.inf, "-infinity": -np.inf, "+inf": np.inf}
_PLAIN = (str, int, float, bool)
_NUMBER = re.compile(r"'?[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def number(cell: Any) -> float:
    """A cell as a number; ValueError where it is none.

    A leading apostrophe is taken off, since it keeps a spreadsheet from computing a cell.

    >>> number("1e-3"), number("'-2"), number("NaN")
    (0.001, -2.0, nan)
    """
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return float("nan")
    text = str(cell).strip()
    if text.lower() in _SPECIAL:
        return _SPECIAL[text.lower()]
    if _NUMBER.fullmatch(text):
        return float(text.lstrip("'"))
    raise ValueError(f"{text[:40]!r} is no number")


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A cell as a whole number, a number, a truth value or a text.

    >>> plain("3"), plain("0.1"), plain("True"), plain("adam")
    (3, 0.1, True, 'adam')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[-+]?\d{1,18}", value):
        return int(value)
    try:
        return number(value)
    except ValueError:
        return {"true": True, "false": False}.get(value.lower(), value)


def flat(document: Any) -> dict[str, Any]:
    """The numbers, texts and truth values of nested tables, by their path. A list of such values is a text.

    A table that occurs twice, as YAML's aliases give it, counts once.

    >>> flat({"optimizer": {"name": "adam", "betas": [0.9, 0.99]}, "parts": [{}]})
    {'optimizer.name': 'adam', 'optimizer.betas': '[0.9, 0.99]'}
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    stack = [("", document)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            if id(value) not in seen:
                seen.add(id(value))
                stack += [(f"{path}.{key}" if path else str(key), one) for key, one in reversed(value.items())]
        elif isinstance(value, list | tuple) and path and all(isinstance(one, _PLAIN) for one in value):
            found[path] = str(list(value))
        elif isinstance(value, _PLAIN) and path:
            found[path] = value
    return found
