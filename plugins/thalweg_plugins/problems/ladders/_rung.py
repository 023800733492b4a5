"""What the problems of the benchmark ``ladders`` share: a level of difficulty, a budget and a target."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem, Metric, Option, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target

LEVELS = 6
DIM = 10
"""The number of variables of every task."""

SHARE = 0.01
"""The share of the starting level that the target of a task is."""


class Rung(Problem):
    """A function of ten variables with a level of difficulty from 1 to 6 and the minimum 0.

    Every level starts at the expected value ``START`` and has the target 0.01 START, so that levels differ by their
    difficulty alone.
    """

    START = 5.0
    splits = ("train",)
    metrics: tuple[Metric, ...] = (Metric("loss", "lower", "log"),)
    budget = Budget(steps=400)
    target: Target | None = Target(metric="loss", value=SHARE * START)
    target_source = "a hundredth of the starting level, by rule"
    licence = "made by the formula"
    options = (Option("level", 1, f"[1, {LEVELS}]", "how hard the task is"),)

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """A function of a vector."""
        return Shape("function", (), (DIM,))

    @abstractmethod
    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """The function of a level."""
