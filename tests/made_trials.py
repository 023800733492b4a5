"""Trials with made-up curves and tables, for claims that read trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd

T = TypeVar("T")


@dataclass
class MadeTrial:
    """A trial whose curves are given: metric values by (split, metric), at ``steps``."""

    workload: str
    optimizer: str
    seed: int = 0
    values: Mapping[tuple[str, str], Sequence[float]] = field(default_factory=dict)
    steps: Sequence[float] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    lost: str = ""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    gradients: Sequence[float] = ()
    states: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[Any, Any] | None = None

    def curve(self) -> pd.DataFrame:
        rows = []
        for (split, metric), values in self.values.items():
            steps = list(self.steps or range(len(values)))
            gradients = list(self.gradients or steps)
            # a split that is read once has one value, at the last step
            for step, gradient, value in zip(steps[-len(values) :], gradients[-len(values) :], values, strict=True):
                rows.append((step, gradient, split, metric, float(value)))
        return pd.DataFrame(rows, columns=["step", "gradient_evaluations", "split", "metric", "value"])

    def table(self, probe: str) -> pd.DataFrame:
        return self.tables[probe]

    def weights(self, which: str = "final") -> Any:
        return self.states[which]

    def trajectory(self) -> Any:
        assert self.path is not None
        return self.path


class MadeContext:
    """A context of made trials, the same for every experiment."""

    device = "cpu"

    def __init__(self, trials: Sequence[MadeTrial], seeds: int = 1, tier: str = "quick") -> None:
        self.all, self.seeds, self.tier = list(trials), tuple(range(seeds)), tier
        self._made: dict[str, Any] = {}

    def trials(self, experiment: str, seed: int | None = None) -> list[Any]:
        return [trial for trial in self.all if seed is None or trial.seed == seed]

    def once(self, key: str, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


def value_of(table: pd.DataFrame, quantity: str, series: str = "", setting: str = "") -> float:
    """The one value of a quantity that decides."""
    rows = table[
        (table["quantity"] == quantity)
        & (table["series"] == series)
        & (table["setting"] == setting)
        & table["x"].isna()
    ]
    (value,) = rows["value"]
    return float(value)
