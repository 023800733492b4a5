"""A stand-in for the runner of claims, for claims that need no trials; and a claim's decision from a few seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pandas as pd

from thalweg.contracts.claim import COLUMNS, Claim, Decision, Part

T = TypeVar("T")


class Alone:
    """A context without trials."""

    def __init__(self, seeds: int = 1, tier: str = "quick") -> None:
        self.tier, self.seeds, self.device = tier, tuple(range(seeds)), "cpu"
        self._made: dict[str, Any] = {}

    def trials(self, experiment: str, seed: int | None = None) -> list[Any]:
        raise AssertionError("this claim needs no trials")

    def once(self, key: str, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


def measured(claim: Claim, seeds: int = 1) -> pd.DataFrame:
    """The measurements of the first seeds."""
    context = Alone(seeds)
    table = pd.concat([claim.measure(context, seed).assign(seed=seed) for seed in context.seeds], ignore_index=True)
    return table[list(COLUMNS)]


def decided(claim: Any, table: pd.DataFrame) -> Decision:
    """The rule's decision, with as many seeds as the table has."""
    found: Decision = claim.rule.decide(table, table["seed"].nunique())
    return found


def failing(decision: Decision) -> list[Part]:
    """The parts that count and do not hold."""
    return [part for part in decision.parts if part.verdict != "holds" and not part.reported]


def draws(claim: Claim, table: pd.DataFrame) -> None:
    """Whether the chart can be drawn, and has a title."""
    chart = claim.chart(table).to_dict()
    assert "title" in str(chart)
