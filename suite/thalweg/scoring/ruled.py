"""Claims that a rule decides."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from thalweg.contracts.claim import Claim, Decision

if TYPE_CHECKING:
    import pandas as pd

    from thalweg.scoring.rules import Rule


class RuledClaim(Claim):
    """A claim whose decision is a rule, ``rule = Rule(...)``: only ``measure`` and ``chart`` are left to write."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if kind := getattr(cls.__dict__.get("rule"), "kind", ""):
            cls.theorem = kind == "theorem"

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """The rule, fixed before the first run."""

    def decide(self, table: pd.DataFrame, tier: str) -> Decision:
        """Decide by the rule."""
        return self.rule.decide(table, self.seeds[tier])

    def synthetic(self, effect: Literal[1, -1], noise: float, tier: str) -> pd.DataFrame:
        """Measurements that the rule decides as ``effect`` says."""
        return self.rule.synthetic(effect, noise, self.seeds[tier])
