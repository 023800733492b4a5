"""Rules of claims: bounds that were fixed beforehand, and the decision that measurements give under them.

Three examples of parts. ``Claim A2``: ln(steps of gradient descent / steps of momentum) above ln 3.
``Claim G1``: the share of one network minus the share of another above 0.2. ``Claim C2``: a slope within -0.5 +- 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from scipy.special import stdtr

from thalweg.contracts.budget import Frozen
from thalweg.contracts.claim import COLUMNS, Decision, Part, Verdict
from thalweg.scoring.holm import holm_levels
from thalweg.scoring.intervals import t_interval

LEVEL = 0.95
ALPHA = 1 - LEVEL

Pair = tuple[str, str]


class PartRule(Frozen):
    """``[[ID.parts]]``: a statistic and its bound. ``{setting}`` in a text stands for the setting."""

    quantity: str
    series: str = ""
    """The series whose value is the statistic, where no pair is given."""
    log_ratio: Pair | None = None
    """(a, b): the statistic is ln(value of series a / value of series b)."""
    difference: Pair | None = None
    """(a, b): the statistic is the value of series a minus the value of series b."""
    settings: Annotated[tuple[str, ...], Field(min_length=1)] = ("",)
    """The settings; each gives a part of its own."""
    above: float | None = None
    below: float | None = None
    within: tuple[float, float] | None = None
    condition: str = ""
    """The level of a condition that the part belongs to."""
    reported: bool = False
    """Whether the part decides nothing."""

    @model_validator(mode="after")
    def _one_bound(self) -> PartRule:
        if sum(bound is not None for bound in (self.above, self.below, self.within)) != 1:
            raise ValueError("give one of above, below and within")
        if self.log_ratio is not None and self.difference is not None:
            raise ValueError("give one of log_ratio and difference")
        return self

    @property
    def bound(self) -> Bound:
        """The bound with its side."""
        if self.within is not None:
            return Bound("within", *self.within)
        if self.above is not None:
            return Bound("above", self.above, math.inf)
        return Bound("below", -math.inf, float(self.below or 0.0))


class Bound(NamedTuple):
    """The values at which a part holds: low to high."""

    side: Literal["above", "below", "within"]
    low: float
    high: float

    @property
    def unit(self) -> float:
        """A distance that is large against the bound, for synthetic measurements."""
        if self.side == "within":
            return (self.high - self.low) or 1.0
        edge = self.high if self.side == "below" else self.low
        return abs(edge) / 2 or 0.5

    def example(self, effect: int) -> float:
        """A value well inside (effect 1) or well outside (effect -1)."""
        if self.side == "within":
            return (self.low + self.high) / 2 if effect > 0 else self.high + self.unit
        return self.low + effect * self.unit if self.side == "above" else self.high - effect * self.unit

    def holds_at(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Whether single values keep the bound."""
        return np.asarray((values >= self.low) & (values <= self.high))


@dataclass(frozen=True)
class _OnePart:
    """A part at one setting."""

    rule: PartRule
    setting: str

    def text(self, text: str) -> str:
        return text.replace("{setting}", self.setting)

    @property
    def series(self) -> tuple[str, ...]:
        """The series that enter: one, or the two of a pair."""
        pair = self.rule.log_ratio or self.rule.difference
        return tuple(map(self.text, pair or (self.rule.series,)))

    def cells(self) -> list[tuple[str, str, str]]:
        """Setting, quantity and series of the rows that enter."""
        return [(self.row_setting, self.rule.quantity, one) for one in self.series]

    @property
    def row_setting(self) -> str:
        """The setting of the rows that enter; empty where the names of the series hold it."""
        return "" if self.named_by_series else self.setting

    @property
    def named_by_series(self) -> bool:
        """Whether the setting is part of the series' names, so that rows have no setting of their own."""
        return any("{setting}" in text for text in (self.rule.log_ratio or self.rule.difference or (self.rule.series,)))

    @property
    def name(self) -> str:
        """What the part measures, at which setting."""
        if self.rule.log_ratio:
            what = f"{self.rule.quantity}: {self.series[0]} / {self.series[1]}"
        elif self.rule.difference:
            what = f"{self.rule.quantity}: {self.series[0]} minus {self.series[1]}"
        else:
            what = f"{self.rule.quantity}{f': {self.series[0]}' if self.series[0] else ''}"
        return what if self.named_by_series or not self.setting else f"{what} ({self.setting})"


class Rule(Frozen):
    """``[ID]``: how a claim is decided."""

    kind: Literal["theorem", "empirical"]
    choice: str = ""
    """What the source leaves open and this rule fixes."""
    seeds: Mapping[str, int] = Field(default_factory=dict)
    """Numbers of seeds that differ from the usual ones, by tier."""
    parts: Annotated[tuple[PartRule, ...], Field(min_length=1)]

    def decide(self, table: pd.DataFrame, seeds: int) -> Decision:
        """Decide from measurements.

        Empirical: a part holds where its whole 95% t-interval over seeds lies inside of the bound, and is not
        reproduced where the interval lies outside. Theorem: a part holds where every seed's value does. A part with a
        seed without a finite value is inconclusive.

        Parts without a condition form a conjunction. Parts with a condition are tested together by Holm's procedure.

        Args:
            table: the measurements of all seeds (``contracts.claim.COLUMNS``).
            seeds: how many seeds there should be.
        """
        ones = self.ones
        cells = cells_of(table)
        values = [self._values(one, cells, seeds) for one in ones]
        parts = [self._part(one, *found) for one, found in zip(ones, values, strict=True)]
        if self.kind == "empirical":
            parts = _holm(parts, [found[0] for found in values], [one.rule.bound for one in ones])
        return conclude(parts)

    @property
    def ones(self) -> list[_OnePart]:
        """The parts, one for each setting."""
        return [_OnePart(part, setting) for part in self.parts for setting in part.settings]

    def _values(self, one: _OnePart, cells: Cells, seeds: int) -> tuple[dict[int, float], list[str]]:
        """The statistic by seed, and the seeds without one, with the reasons."""
        found = [cells.get(cell, {}) for cell in one.cells()]
        values: dict[int, float] = {}
        lost: list[str] = []
        for seed in sorted({*range(seeds), *(seed for each in found for seed in each)}):
            have = [each.get(seed) for each in found]
            if any(each is None for each in have):
                lost.append(f"seed {seed}: not measured")
                continue
            numbers = [each[0] for each in have if each is not None]
            notes = [each[1] for each in have if each is not None and each[1]]
            value = _statistic(one.rule, numbers)
            if math.isfinite(value):
                values[seed] = value
            else:
                shown = " and ".join(
                    f"{name or 'value'} {number:g}" for name, number in zip(one.series, numbers, strict=True)
                )
                lost.append(f"seed {seed}: {'; '.join(notes) or shown}")
        return values, lost

    def _part(self, one: _OnePart, values: Mapping[int, float], lost: Sequence[str]) -> Part:
        bound = one.rule.bound
        x = np.array(list(values.values()))
        verdict: Verdict = "inconclusive"
        statistic = low = high = math.nan
        if x.size and self.kind == "theorem":
            low, high = float(x.min()), float(x.max())
            statistic = float(x[np.argmin(np.minimum(x - bound.low, bound.high - x))])
            if not bound.holds_at(x).all():
                verdict = "not reproduced"
            elif not lost:
                verdict = "holds"
        elif x.size:
            statistic, low, high = t_interval(list(x), level=LEVEL)
            if not lost:
                verdict = _side(low, high, bound)
        return Part(
            name=one.name,
            statistic=statistic,
            low=low,
            high=high,
            threshold=bound.high if bound.side == "below" else bound.low,
            verdict=verdict,
            side=bound.side,
            upper=bound.high if bound.side == "within" else None,
            unit="log ratio" if one.rule.log_ratio else "difference" if one.rule.difference else "",
            condition=one.text(one.rule.condition),
            reported=one.rule.reported,
            seeds=len(values),
            lost=tuple(lost),
        )

    def synthetic(self, effect: Literal[1, -1], noise: float, seeds: int) -> pd.DataFrame:
        """Measurements that this rule decides as ``effect`` says, with a spread of ``noise`` bounds over seeds.

        The deviations of the seeds are fixed and sum to zero, so the answer is known. Parts may share series: single
        series are set first, then each pair sets its series that has no value yet.
        """
        deviations = np.linspace(-1, 1, seeds) if seeds > 1 else np.zeros(1)
        cells: dict[tuple[str, str, str], np.ndarray[Any, Any]] = {}
        left = sorted(self.ones, key=lambda one: len(one.series))
        while left:
            # a pair with a known series before a pair without
            one = next((each for each in left if {*each.cells()} & {*cells}), left[0])
            left.remove(one)
            bound = one.rule.bound
            spread = 0.0 if bound.low == bound.high and effect > 0 else noise * bound.unit  # this bound has no inside
            wanted = bound.example(effect) + spread * deviations
            first, *second = one.cells()
            if not second:
                cells[first] = wanted
                continue
            factor = np.exp(wanted)
            log = one.rule.log_ratio is not None
            if first in cells and second[0] not in cells:
                cells[second[0]] = cells[first] / factor if log else cells[first] - wanted
                continue
            base = cells.setdefault(second[0], np.full(seeds, 1.0))
            cells.setdefault(first, base * factor if log else base + wanted)
        rows = [
            (seed, setting, quantity, series, math.nan, float(value), "")
            for (setting, quantity, series), values in cells.items()
            for seed, value in enumerate(values)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


Cells = dict[tuple[str, str, str], dict[int, tuple[float, str]]]
"""By setting, quantity and series: value and note of each seed."""


def cells_of(table: pd.DataFrame) -> Cells:
    """The values of the rows that decide, which are the rows without an ``x``."""
    rows = table[table["x"].isna()]
    found: Cells = {}
    columns = (rows[name].tolist() for name in ("setting", "quantity", "series", "seed", "value", "note"))
    for setting, quantity, series, seed, value, note in zip(*columns, strict=True):
        found.setdefault((setting, quantity, series), {})[int(seed)] = (float(value), str(note))
    return found


def _statistic(rule: PartRule, numbers: Sequence[float]) -> float:
    if rule.log_ratio is not None:
        a, b = numbers
        positive = 0 < a < math.inf and 0 < b < math.inf
        return math.log(a) - math.log(b) if positive else math.nan
    if rule.difference is not None:
        return numbers[0] - numbers[1]
    return numbers[0]


def _side(low: float, high: float, bound: Bound) -> Verdict:
    """Whether an interval lies inside, outside, or on both sides of a bound; nan is on both."""
    inside = (low > bound.low or bound.side == "below") and (high < bound.high or bound.side == "above")
    if inside and not math.isnan(low):
        return "holds"
    if high < bound.low or low > bound.high:
        return "not reproduced"
    return "inconclusive"


def _holm(parts: list[Part], values: Sequence[Mapping[int, float]], bounds: Sequence[Bound]) -> list[Part]:
    """The parts, those with a condition decided together by Holm's procedure."""
    family = [number for number, part in enumerate(parts) if part.condition and not part.reported]
    decisions = [
        _test(list(values[n].values()), bounds[n]) if not parts[n].lost else (math.nan, "inconclusive") for n in family
    ]
    p = np.array([decision[0] for decision in decisions])
    levels = holm_levels(p, ALPHA) if family else p
    found = list(parts)
    for number, (value, verdict), level in zip(family, decisions, levels, strict=True):
        kept: Verdict = verdict if value <= level else "inconclusive"
        found[number] = replace(parts[number], verdict=kept)
    return found


def _test(values: Sequence[float], bound: Bound) -> tuple[float, Verdict]:
    """The two-sided p-value of the side that the values are on, and that side; (nan, ...) for fewer than two values."""
    x = np.asarray(values)
    if x.size < 2:
        return math.nan, "inconclusive"
    error = float(x.std(ddof=1)) / math.sqrt(x.size)
    mean = float(x.mean())

    def above(edge: float) -> float:
        """The p-value of the mean being above an edge."""
        if math.isinf(edge):
            return 0.0 if edge < 0 else 1.0
        if error == 0:
            return 0.0 if mean > edge else 1.0
        return float(stdtr(x.size - 1, -(mean - edge) / error))

    def below(edge: float) -> float:
        if error == 0 and not math.isinf(edge):
            return 0.0 if mean < edge else 1.0
        return 1 - above(edge)

    inside = max(above(bound.low), below(bound.high))
    outside = min(below(bound.low), above(bound.high))
    return (2 * inside, "holds") if inside <= outside else (2 * outside, "not reproduced")


def conjunction(verdicts: Sequence[Verdict]) -> Verdict:
    """All hold: holds. Any is not reproduced: not reproduced. Else inconclusive."""
    if all(verdict == "holds" for verdict in verdicts):
        return "holds"
    return "not reproduced" if "not reproduced" in verdicts else "inconclusive"


def _listed(names: Sequence[str]) -> str:
    """Names with commas between them, in quotation marks where a name has a comma itself."""
    return ", ".join(f'"{name}"' for name in names) if any("," in name for name in names) else ", ".join(names)


def conclude(parts: Sequence[Part]) -> Decision:
    """The verdict that decided parts give.

    A claim holds conditionally where a level of a condition is decided opposite to another level, or to the parts
    without a condition. Otherwise the parts without a condition decide; where there are none, all levels together.
    """
    counted = [part for part in parts if not part.reported]
    base = [part.verdict for part in counted if not part.condition]
    names = list(dict.fromkeys(part.condition for part in counted if part.condition))
    levels = {name: conjunction([part.verdict for part in counted if part.condition == name]) for name in names}
    main = conjunction(base) if base else None
    sides = {*levels.values(), *([main] if main else [])}
    if {"holds", "not reproduced"} <= sides and main != "inconclusive":
        verdict: Verdict = "holds conditionally"
    else:
        verdict = main or conjunction(list(levels.values()))
        if not base and verdict == "not reproduced" and len(set(levels.values())) > 1:
            verdict = "inconclusive"  # some levels are refuted and the others undecided
    by_side = [
        (text, [name for name, level in levels.items() if level == side])
        for text, side in (("holds", "holds"), ("does not hold", "not reproduced"), ("undecided", "inconclusive"))
    ]
    condition = "; ".join(f"{text} at {_listed(found)}" for text, found in by_side if found)
    if condition and main:
        condition = f"without the condition: {main}; {condition}"
    return Decision(verdict, tuple(parts), condition)
