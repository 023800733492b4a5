"""A claim: a statement decided by measurements, by a rule fixed beforehand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from thalweg.contracts.component import Component

if TYPE_CHECKING:
    import altair
    import pandas

Verdict = Literal["holds", "holds conditionally", "not reproduced", "inconclusive"]


@dataclass(frozen=True)
class Part:
    """One part of a decision: a statistic with its 95% interval against the threshold fixed beforehand."""

    name: str
    statistic: float
    low: float
    high: float
    threshold: float
    verdict: Verdict


@dataclass(frozen=True)
class Decision:
    """The parts of a decision, and the verdict that the claim's rule draws from them."""

    verdict: Verdict
    parts: tuple[Part, ...]
    condition: str = ""


class ClaimContext(Protocol):
    """The tier and the runner, for a claim that measures."""

    tier: str

    def run(self, benchmark: str) -> pandas.DataFrame:
        """Run a benchmark by name and return its curves."""
        ...


class Claim(Component, ABC):
    """A checkable statement. ``measure`` is cached per seed; ``decide`` is pure and never looks anywhere else."""

    kind: ClassVar[str] = "claim"
    statement: str = ""
    caveat: str = ""
    tiers: tuple[str, ...] = ("quick",)
    seeds: dict[str, int]

    @abstractmethod
    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Measure for one seed."""

    @abstractmethod
    def decide(self, table: pandas.DataFrame) -> Decision:
        """Decide from the measurements of all seeds (column ``seed``)."""

    @abstractmethod
    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Draw the measurements."""

    def contract_violations(self) -> list[str]:
        """The faults of the declaration. A claim must declare its statement and its tiers."""
        wrong = super().contract_violations()
        if not self.statement:
            wrong.append("statement must say in one sentence what is claimed")
        seeds: Any = getattr(self, "seeds", None)
        if not isinstance(seeds, dict) or set(seeds) != set(self.tiers):
            wrong.append("seeds must give the number of seeds of each tier")
        return wrong
