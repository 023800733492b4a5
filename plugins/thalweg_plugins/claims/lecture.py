"""What the claims of the lecture have in common: their rules, fixed beforehand in ``rules.toml``."""

from __future__ import annotations

import tomllib
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg.scoring.ruled import RuledClaim

if TYPE_CHECKING:
    from collections.abc import Mapping

    import altair
    import pandas

    from thalweg.scoring.rules import Rule

RULES = Path(__file__).with_name("rules.toml")

SECTIONS = {
    "A": "Quadratics: Newton, momentum and quasi-Newton methods",
    "B": "Natural gradient and K-FAC",
    "C": "Adaptive rules",
    "D": "Where Adam fails to converge",
    "E": "Where adaptive methods overfit",
    "F": "Depth and initialization",
    "G": "Batch normalization",
    "H": "Residual networks",
    "I": "The line from start to finish",
    "J": "Random and gradient directions",
    "K": "Filter normalisation and sharpness",
    "L": "After the lecture",
}
"""The lecture's sections, by the first letter of a claim's id."""

_SEEDS = {"quick": 5, "cpu": 3, "full": 3}


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(RULES.read_text(encoding="utf-8"))


class LectureClaim(RuledClaim):
    """A claim whose rule stands in ``rules.toml`` under its id; a claim declares the tiers, and the file the seeds."""

    figure: ClassVar[str] = ""
    """The file name of the lecture's figure that ``chart`` draws again."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if cls.name:
            table = _tables()[cls.name]
            cls.section = f"{cls.name[0]}. {SECTIONS[cls.name[0]]}"
            cls.theorem = table["kind"] == "theorem"
            cls.seeds = {tier: table.get("seeds", {}).get(tier, _SEEDS[tier]) for tier in cls.tiers}

    @cached_property
    def rule(self) -> Rule:
        """The rule, read from the file."""
        from thalweg.scoring.rules import Rule

        return Rule.model_validate(_tables()[self.name])

    def figures(self, table: pandas.DataFrame) -> Mapping[str, altair.TopLevelMixin | str]:
        """The lecture's figure, where the claim's picture is one."""
        return {self.figure: self.chart(table)} if self.figure else {}
