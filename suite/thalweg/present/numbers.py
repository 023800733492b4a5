"""How numbers are written: in text, in the app's tables and on charts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

DASH = "–"
"""Stands for a number that is missing."""


class Format(NamedTuple):
    """One way to write numbers.

    >>> PERCENT.text(0.97333), GENERAL.text(1.234e-9), GENERAL.text(float("nan"))
    ('97.3%', '1.234e-09', '–')
    """

    write: Callable[[float], str]
    printf: str
    """The format of Streamlit, of ``factor`` times the number."""
    d3: str
    """The format of Vega."""
    factor: float = 1.0

    def text(self, value: float | None) -> str:
        """The number as text; a dash where it is missing or not finite."""
        return DASH if value is None or not math.isfinite(value) else self.write(value)


def significant(digits: int) -> Format:
    """Numbers with that many significant digits.

    >>> significant(3).text(1234.5)
    '1.23e+03'
    """
    return Format(lambda value: f"{value:.{digits}g}", f"%.{digits}g", f".{digits}~g")


def decimals(digits: int) -> Format:
    """Numbers with that many digits after the point."""
    return Format(lambda value: f"{value:.{digits}f}", f"%.{digits}f", f".{digits}f")


GENERAL = significant(4)
PERCENT = Format(lambda value: f"{100 * value:.1f}%", "%.1f%%", ".1%", 100.0)
"""Fractions, written in percent."""
BYTES = Format(lambda value: f"{value:,.0f}", "localized", ".4~g")
WHOLE = decimals(0)
COUNT = Format(lambda value: f"{value:,.0f}", "localized", ",d")
"""Whole numbers that may be large, with commas between thousands."""


def format_of(unit: str) -> Format:
    """The format of a metric with that unit."""
    return {"%": PERCENT, "bytes": BYTES}.get(unit, GENERAL)


def number(value: float | None, unit: str = "", digits: int = 4) -> str:
    """A number of that unit as text; ``digits`` are the significant ones of a number without a unit.

    >>> number(0.97333, "%"), number(1.234e-9), number(float("nan"))
    ('97.3%', '1.234e-09', '–')
    """
    return (format_of(unit) if unit in ("%", "bytes") else significant(digits)).text(value)


def interval(low: float, high: float, form: Format) -> str:
    """Both ends of an interval; a dash where there is no interval, as for a single seed.

    >>> interval(0.951, 0.973, PERCENT)
    '95.1% to 97.3%'
    """
    return DASH if math.isnan(low) else f"{form.text(low)} to {form.text(high)}"


def ranks(low: int, high: int) -> str:
    """A rank, or the ranks from ``low`` to ``high`` that intervals leave open.

    >>> ranks(2, 2), ranks(2, 4)
    ('2', '2–4')
    """
    return f"{low}" if low == high else f"{low}–{high}"
