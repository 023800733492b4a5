"""Scales, axes, titles and legends that several charts have, and the scales of optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import altair as alt

from thalweg.contracts import Metric
from thalweg.present.charts.palette import optimizer_styles

Layers = alt.LayerChart | alt.FacetChart
"""The type that Altair gives to layers with properties."""


class OptimizerScales:
    """Colours, dashes and shapes of the optimizers on one chart, as Altair's scales.

    Args:
        shown: labels of the optimizers on the chart.
        among: labels of all optimizers of the results, so that a label has one style on all their charts.
        of: the optimizers of labels that are none, such as trials; they take the optimizer's colour.
    """

    def __init__(
        self, shown: Iterable[str], among: Iterable[str], of: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.labels = sorted(set(shown))
        styles = optimizer_styles({*self.labels, *among}, of)
        self.colors = {label: styles[label].color for label in self.labels}
        self._dashes = [list(styles[label].dash) for label in self.labels]
        self._shapes = [styles[label].shape for label in self.labels]

    @property
    def color(self) -> alt.Scale:
        """The scale of colours."""
        return alt.Scale(domain=self.labels, range=list(self.colors.values()))

    @property
    def dash(self) -> alt.Scale:
        """The scale of dashes."""
        return alt.Scale(domain=self.labels, range=self._dashes)

    @property
    def shape(self) -> alt.Scale:
        """The scale of the shapes of points."""
        return alt.Scale(domain=self.labels, range=self._shapes)


def line_legend(columns: int = 2) -> alt.Legend:
    """A legend of lines that fits on a phone, with long labels in one column; it takes ``legend_height``."""
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=columns,
        symbolType="stroke",
        symbolStrokeWidth=2.5,
        symbolSize=500,
        symbolOpacity=1,
        labelLimit=280 // columns,
    )


def point_legend() -> alt.Legend:
    """A legend of points that fits on a phone; it takes ``legend_height``."""
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=2,
        symbolSize=90,
        symbolOpacity=1,
        symbolStrokeWidth=0,
        labelLimit=140,
    )


def legend_height(entries: int, columns: int = 2) -> int:
    """The height in pixels of a legend with that many entries in two columns, or in one."""
    return 24 * math.ceil(entries / columns)


def value_scale(log: bool, **settings: Any) -> alt.Scale:
    """A logarithmic scale, or a linear one that need not begin at zero."""
    # a log scale has no zero, and Vega warns on the console where ``zero`` is set for one
    return alt.Scale(type="log", **settings) if log else alt.Scale(zero=False, **settings)


TICKS = 7
"""Ticks of a log axis, at most."""


def log_ticks(values: Iterable[float]) -> list[float]:
    """Ticks that a person would choose for a log axis with these values; values that are not positive do not count.

    Ticks are powers of ten; of 10^k, 2 10^k and 5 10^k where fewer than three powers lie between the ends; and of every
    second power, or of fewer, where there are more than seven.

    >>> log_ticks([0.008, 3.0]), log_ticks([2.0, 40.0])
    ([0.01, 0.1, 1.0], [2.0, 5.0, 10.0, 20.0])
    """
    positive = [value for value in values if 0 < value < math.inf]
    if not positive:
        return []
    low, high = min(positive), max(positive)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [power for power in range(first, last + 1) if low <= 10.0**power <= high]
    if len(powers) >= 3:
        every = -(-len(powers) // TICKS)
        return [10.0**power for power in powers if power % every == 0]
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def value_axis(metric: Metric, values: Iterable[float] = ()) -> alt.Axis:
    """The axis of a metric's values: percent, multiples of bytes, or numbers in at most three digits.

    ``values`` are those on the axis. A log axis has the ticks of ``log_ticks`` for them, where there are two or more.
    """
    ticks = log_ticks(values) if metric.scale == "log" else []
    given: dict[str, Any] = {"values": ticks} if len(ticks) > 1 else {}
    if metric.unit == "%":
        return alt.Axis(format="~%", tickCount=8, **given)
    if metric.unit == "bytes":
        return alt.Axis(format="~s", tickCount=6, **given)
    # the format .3~g writes 1000 as 1e+3
    few = "datum.value >= 1000 ? format(datum.value, '~s') : format(datum.value, '.3~g')"
    return alt.Axis(labelExpr=few, tickCount=6, **given)


def value_title(metric: Metric, split: str, log: bool) -> str:
    """The metric's name, with its split and "log scale" in brackets."""
    notes = [note for note in (split, "log scale" if log else "") if note]
    name = metric.name.replace("_", " ")
    return f"{name} ({', '.join(notes)})" if notes else name


def interval_tooltips(fmt: str, names: Sequence[str] = ("95% interval from", "to")) -> list[alt.Tooltip]:
    """Tooltips of the columns ``low`` and ``high``."""
    return [alt.Tooltip(f"{end}:Q", title=name, format=fmt) for end, name in zip(("low", "high"), names, strict=True)]
