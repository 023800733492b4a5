"""The settings that tuning tries: points in a range that is equally wide for every optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.benchmark_file import TuningSpec
from thalweg.contracts.option import Hyperparameter, bounds
from thalweg.errors import UserError, unknown
from thalweg.shown import some

SEED = 2020
"""The seed of the sequences of points. Every optimizer gets equal points of the unit cube."""


WIDTH = 1.01
"""A range whose ends differ by less than this factor has no points of its own."""
LOW, HIGH = "low", "high"
"""The ends of a range."""


@dataclass(frozen=True)
class Point:
    """A setting beyond an end of the range."""

    end: str
    number: int
    """The place in the sequence of points beyond this end, from 0."""
    setting: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Range:
    """The range in which one hyperparameter is searched, on a log scale."""

    name: str
    low: float
    high: float
    least: float = 0.0
    most: float = math.inf
    """The values that are allowed at all."""

    def value(self, u: float) -> float:
        """The value at a share u of the range's width in decades, to three significant digits."""
        return float(f"{self.low * (self.high / self.low) ** u:.3g}")


@dataclass(frozen=True)
class Space:
    """The ranges of one optimizer on one workload."""

    ranges: tuple[Range, ...]
    spec: TuningSpec

    def settings(self, budget: int) -> list[dict[str, float]]:
        """The first ``budget`` points."""
        return [
            {each.name: each.value(u) for each, u in zip(self.ranges, point, strict=True)}
            for point in unit_points(self.spec.method, budget, len(self.ranges))
        ]

    def beyond(self, budget: int, ends: Iterable[str]) -> list[Point]:
        """Points beyond some ends, as dense as ``budget`` points inside; none for several hyperparameters."""
        if len(self.ranges) > 1 or not self.spec.extend:
            return []
        count = points_beyond(self.spec, budget)
        return [point for end in ends for point in self._beyond(end, count)]

    def _beyond(self, end: str, count: int) -> list[Point]:
        (inside,) = self.ranges
        factor = 10**self.spec.extend
        part = (
            Range(inside.name, max(inside.low / factor, inside.least), inside.low)
            if end == LOW
            else Range(inside.name, inside.high, min(inside.high * factor, inside.most))
        )
        if part.high < part.low * WIDTH:
            return []  # nothing is allowed beyond the end, or it is the end again in three digits
        if self.spec.method == "grid":
            # equally far from the end and from each other
            shares = np.arange(count) / count if end == LOW else np.arange(1, count + 1) / count
        else:
            shares = unit_points(self.spec.method, count, 1)[:, 0]
        return [Point(end, number, ((inside.name, part.value(u)),)) for number, u in enumerate(shares)]


def points_beyond(spec: TuningSpec, budget: int) -> int:
    """The number of points beyond each end of a range, as dense as ``budget`` points inside."""
    # the quotient may be too large for a float, and is refused where it is large at all
    return math.ceil(min(budget * spec.extend / spec.decades, 1e300))


def unit_points(method: str, count: int, dimensions: int) -> np.ndarray[Any, Any]:
    """Points of the unit cube, (count, dimensions). Fewer points are the first of a longer sequence, except in a grid.

    ``grid``: equally spaced with both ends, as many in each direction. ``halton``, ``sobol``: scrambled (Owen 2017;
    scipy.stats.qmc). ``random``: uniform.
    """
    if method == "grid":
        side = round(count ** (1 / dimensions))
        ticks = np.linspace(0.0, 1.0, side) if side > 1 else np.array([0.5])
        return np.stack([each.ravel() for each in np.meshgrid(*[ticks] * dimensions, indexing="ij")], axis=1)
    if method == "random":
        return np.random.default_rng(SEED).random((count, dimensions))
    from scipy.stats import qmc

    if method == "halton":
        return np.asarray(qmc.Halton(dimensions, rng=np.random.default_rng(SEED)).random(count))
    sequence = qmc.Sobol(dimensions, rng=np.random.default_rng(SEED))
    # a power of two is drawn, because such sequences are balanced, and then cut
    return np.asarray(sequence.random_base2(math.ceil(math.log2(max(1, count)))))[:count]


def space_of(
    spec: TuningSpec, options: Iterable[Hyperparameter], names: Iterable[str], given: Mapping[str, Any], where: str
) -> Space:
    """The ranges of an optimizer, ``spec.decades`` wide around a given value or the middle of the declared range.

    Args:
        spec: the tuning of the benchmark.
        options: the hyperparameters of the optimizer.
        names: the hyperparameters that are searched.
        given: values that the benchmark gives.
        where: what an error names.

    Raises:
        UserError: a hyperparameter cannot be searched.
    """
    names = tuple(names)
    if len(set(names)) < len(names):
        raise UserError(f"{where}: tuning.hyperparameters names one of {some(names)} twice")
    declared = {option.name: option for option in options}
    searched = [name for name, option in declared.items() if option.search is not None and option.search.scale == "log"]
    ranges = []
    for name in names:
        option = declared.get(name)
        if option is None or option.search is None or option.search.scale != "log" or option.kind != "float":
            choices = [other for other in searched if declared[other].kind == "float"]
            if name == "lr" and option is None and not choices:
                more = (
                    "register(..., search={'NAME': (low, high)}) and tuning.hyperparameters say what else is searched"
                )
                raise UserError(f"{where}: has no learning rate, so there is nothing to tune: {more}")
            said = unknown("hyperparameter with a range to search", name, choices)
            raise UserError(f"{where}: {said}: say tuning.hyperparameters")
        middle = given.get(name, math.sqrt(option.search.low * option.search.high))
        if not middle > 0:
            raise UserError(f"{where}: {name} = {middle!r} is no middle of a range on a log scale")
        half = 10 ** (spec.decades / 2)
        low, high = middle / half, middle * half
        least, most = _limits(option.allowed)
        # the range keeps its width and moves to where values are allowed, as far as they reach
        shift = max(1.0, least / low) if low < least else min(1.0, most / high)
        low, high = max(low * shift, least), min(high * shift, most)
        ranges.append(Range(name, low, high, least, most))
    if spec.method == "grid":
        side = round(spec.budgets[0] ** (1 / len(ranges)))
        if side ** len(ranges) != spec.budgets[0]:
            raise UserError(f"{where}: {spec.budgets[0]} points are no grid of {len(ranges)} hyperparameters")
    return Space(tuple(ranges), spec)


def _limits(allowed: object) -> tuple[float, float]:
    """The smallest and the largest value to try. An end that is not allowed itself is kept away from."""
    if not isinstance(allowed, str):
        return 0.0, math.inf
    least, most = bounds(allowed)
    least *= WIDTH if allowed.startswith("(") else 1.0
    most /= WIDTH if allowed.endswith(")") else 1.0
    return max(least, 0.0), most
