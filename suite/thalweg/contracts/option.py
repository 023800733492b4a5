"""Declared settings: the default, the allowed values, and for hyperparameters the range to search."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from thalweg.errors import UserError, unknown
from thalweg.shown import brief, digits

Kind = Literal["float", "int", "bool", "choice", "ints", "floats", "file"]

NO_FILE = ""
"""The default of an option that names a file: none."""

_INTERVAL = re.compile(r"\s*([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])\s*")


@dataclass(frozen=True)
class Option:
    """One declared setting of a problem, architecture or probe.

    ``default`` fixes the kind (float, int, bool, choice or a tuple of numbers). ``allowed`` is an interval in the
    usual notation, ``"(0, inf)"`` or ``"[0, 1)"``, or a tuple of choices. For a tuple of numbers the interval holds for
    each number. An option with the default ``NO_FILE`` names a file; a benchmark file gives its path relative to the
    benchmark file. Numbers must be finite, unless the default is infinite.

    >>> Option("width", 64, allowed="[1, inf)").check(0, "mlp")
    Traceback (most recent call last):
    thalweg.errors.UserError: mlp: width = 0 is outside its allowed range [1, inf)
    """

    name: str
    default: Any
    allowed: str | tuple[str, ...] | None = None
    summary: str = ""
    real: bool = field(default=False, kw_only=True)
    """Whether any number is allowed though the default is whole. Whole values then stay whole: 0 and 1, not 0.0."""

    @property
    def kind(self) -> Kind:
        """The kind of the values, one of float, int, bool, choice, file, and for tuples of numbers ints or floats."""
        if isinstance(self.allowed, tuple):
            return "choice"
        if self.default == NO_FILE:
            return "file"
        if isinstance(self.default, bool):
            return "bool"
        if isinstance(self.default, int):
            return "float" if self.real else "int"
        if isinstance(self.default, float):
            return "float"
        if isinstance(self.default, tuple):
            return "ints" if all(isinstance(item, int) for item in self.default) else "floats"
        raise TypeError(f"the default {self.default!r} is no float, int, bool, choice, tuple of numbers or NO_FILE")

    def contract_violations(self) -> list[str]:
        """The faults of the declaration, one sentence each."""
        try:
            self.check(self.default, "default")
        except (TypeError, ValueError, UserError) as error:
            return [f"option {self.name!r}: {error}"]
        return []

    def check(self, value: Any, where: str) -> Any:
        """Return ``value`` as this option's kind. UserError names ``where``, the key and the allowed values."""
        key = f"{where}: {self.name}"
        match self.kind:
            case "choice":
                assert isinstance(self.allowed, tuple)
                if not isinstance(value, str) or value not in self.allowed:
                    said = value if isinstance(value, str) else brief(value)
                    raise UserError(f"{key}: {unknown('choice', said, self.allowed)}")
                return value
            case "bool":
                if not isinstance(value, bool):
                    raise UserError(f"{key} = {brief(value)} is not true or false")
                return value
            case "int" | "float" as kind:
                return self._number(value, kind, key)
            case "file":
                if not isinstance(value, str):
                    raise UserError(f"{key} = {brief(value)} is not the path of a file")
                return value
            case _:
                if not isinstance(value, list | tuple) or not value:
                    raise UserError(f"{key} = {brief(value)} is not a list of numbers")
                kind = "int" if self.kind == "ints" else "float"
                return tuple(self._number(item, kind, key) for item in value)

    def _number(self, value: Any, kind: str, key: str) -> int | float:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer() and kind == "float")
        if isinstance(value, bool) or not isinstance(value, int | float) or (kind == "int" and not whole):
            raise UserError(f"{key} = {brief(value)} is not {'a whole number' if kind == 'int' else 'a number'}")
        if isinstance(value, int) and value.bit_length() > (63 if kind == "int" else 1023):
            raise UserError(f"{key}: a number of {digits(value)} digits is too large")
        as_float = float(value)
        if isinstance(self.allowed, str) and not _inside(as_float, self.allowed):
            raise UserError(f"{key} = {brief(value)} is outside its allowed range {self.allowed}")
        if not math.isfinite(as_float) and not (math.isinf(as_float) and value == self.default):
            raise UserError(f"{key} = {brief(value)} is not finite")
        return int(value) if kind == "int" or (self.real and as_float.is_integer()) else as_float


@dataclass(frozen=True)
class Search:
    """Where tuning looks for a hyperparameter: from ``low`` to ``high`` on a linear or log scale."""

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"


@dataclass(frozen=True)
class Hyperparameter(Option):
    """An option of an optimizer, with the range that tuning searches.

    Example: ``Hyperparameter("lr", 0.1, allowed="(0, inf)", search=Search(1e-4, 1.0))``. A pair is two names:
    ``beta1`` and ``beta2``.
    """

    search: Search | None = None

    def contract_violations(self) -> list[str]:
        """The faults of the declaration, one sentence each; the search range must lie inside the allowed range."""
        wrong = super().contract_violations()
        if self.search is not None:
            low, high = self.search.low, self.search.high
            if not low < high or (self.search.scale == "log" and low <= 0):
                wrong.append(
                    f"hyperparameter {self.name!r}: search from {low} to {high} is no {self.search.scale} range"
                )
            elif isinstance(self.allowed, str) and not (_inside(low, self.allowed) and _inside(high, self.allowed)):
                wrong.append(f"hyperparameter {self.name!r}: search from {low} to {high} leaves {self.allowed}")
        return wrong


def bounds(allowed: str) -> tuple[float, float]:
    """The ends of an interval such as ``"(0, inf)"``.

    >>> bounds("(0, inf)")
    (0.0, inf)
    """
    parsed = _INTERVAL.fullmatch(allowed)
    if parsed is None:
        raise ValueError(f"allowed {allowed!r} is no interval such as '(0, inf)' or '[0, 1)'")
    return float(parsed[2]), float(parsed[3])


def resolve(options: Iterable[Option], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Every option's value: the given one, checked, or its default. UserError on an unknown key or a bad value."""
    declared = {option.name: option for option in options}
    for key in given:
        if key not in declared:
            raise UserError(f"{where}: {unknown('setting', key, declared)}")
    return {name: option.check(given.get(name, option.default), where) for name, option in declared.items()}


def without_defaults(options: Iterable[Option], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from their defaults. A trial's hash covers these."""
    return {option.name: resolved[option.name] for option in options if resolved[option.name] != option.default}


def _inside(value: float, interval: str) -> bool:
    parsed = _INTERVAL.fullmatch(interval)
    if parsed is None:
        raise ValueError(f"allowed {interval!r} is no interval such as '(0, inf)' or '[0, 1)'")
    left, low, high, right = parsed.groups()
    above = value >= float(low) if left == "[" else value > float(low)
    below = value <= float(high) if right == "]" else value < float(high)
    return above and below
