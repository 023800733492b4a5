"""Conditions on hyperparameters, such as ``lr >= 0.01, momentum = 0.9``, which choose optimizers and trials."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from thalweg.errors import UserError, unknown
from thalweg.shown import brief

SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
"""The signs between a hyperparameter's name and a value."""
_START = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(<=|>=|!=|<|>|==?)\s*")
_WORD = re.compile(r"[^\s,;<>=!]+")
_END = re.compile(r"\s*(?:,|;|and\b|(?=\s)|$)", re.IGNORECASE)


class Condition(NamedTuple):
    """A hyperparameter's name, a sign, and the value that the hyperparameter is compared with."""

    name: str
    sign: str
    value: str

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether the hyperparameter is among these settings, and its value compares so.

        Numbers compare as numbers. Other values, lists among them, are equal or not, whatever their case, as they are
        written in JSON.
        """
        if self.name not in settings:
            return False
        found, wanted = settings[self.name], _number(self.value)
        if wanted is not None and isinstance(found, int | float) and not isinstance(found, bool):
            return SIGNS[self.sign](found, wanted)
        same = _written(found) == (_list(self.value) or _written(self.value))
        return same if self.sign == "=" else not same if self.sign == "!=" else False


def conditions(text: str) -> list[Condition]:
    """The conditions in a text, which stand beside each other with spaces or commas between them.

    Raises:
        UserError: a part of the text is no condition, or ``<`` or ``>`` compares with something that is no number.
    """
    found, place = [], 0
    while text[place:].strip():
        start = _START.match(text, place)
        value = _value(text, start.end()) if start else ""
        end = _END.match(text, start.end() + len(value)) if start and value else None
        if start is None or end is None:
            raise UserError(
                f"{brief(text[place:].strip())} is no condition: write name, sign and value, as in lr>=0.01"
            )
        name, sign = start[1], start[2].replace("==", "=")
        if (sign not in ("=", "!=") and _number(value) is None) or value.lower() == "nan":
            raise UserError(f"a condition on {brief(name)}: {brief(value)} is no number")
        if value.startswith("[") and _list(value) is None:
            raise UserError(f"a condition on {brief(name)}: {brief(value)} is no list, such as [0.9, 0.999]")
        found.append(Condition(name, sign, value))
        place = end.end()
    return found


def kept(wanted: Sequence[Condition], settings: Sequence[Mapping[str, Any]]) -> list[bool]:
    """For each of these settings, whether all conditions hold.

    Raises:
        UserError: none of the settings has a hyperparameter of a condition's name, or the hyperparameter is a number
            and the condition's value is none.
    """
    _check(wanted, settings)
    return [all(condition.holds(one) for condition in wanted) for one in settings]


def _check(wanted: Iterable[Condition], settings: Sequence[Mapping[str, Any]]) -> None:
    names = {name for one in settings for name in one}
    for condition in wanted:
        if condition.name not in names:
            same = [name for name in names if name.lower() == condition.name.lower()]
            raise UserError(unknown("hyperparameter", condition.name, same or names))
        values = [one[condition.name] for one in settings if condition.name in one]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numbers and _number(condition.value) is None:
            raise UserError(f"a condition on {brief(condition.name)}: {brief(condition.value)} is no number")


def _value(text: str, place: int) -> str:
    """The word at this place, or the list with all lists in it."""
    if not text.startswith("[", place):
        word = _WORD.match(text, place)
        return word[0] if word else ""
    depth = 0
    for end in range(place, len(text)):
        depth += {"[": 1, "]": -1}.get(text[end], 0)
        if depth == 0:
            return text[place : end + 1]
    return text[place:]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _list(text: str) -> str | None:
    """A list as ``_written`` writes it; None for another text."""
    try:
        found = json.loads(text.lower())
        return _written(found) if isinstance(found, list) else None
    except (ValueError, RecursionError):
        return None


def _real(value: Any) -> Any:
    """An integer as a real number, where there is one; any other value as it is."""
    with suppress(OverflowError):
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return value


def _written(value: Any) -> str:
    """A value that is no number, as a condition writes it: ``true``, ``null``, a text, or a list of these."""
    if isinstance(value, list | tuple):
        return f"[{','.join(_written(_real(part)) for part in value)}]"
    return "null" if value is None else str(value).lower().replace(" ", "")
