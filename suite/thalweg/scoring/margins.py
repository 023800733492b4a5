"""Margins: differences up to a margin count as the same."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.contracts import Metric
from thalweg.errors import UserError
from thalweg.shown import cut

EXAMPLES = 2
"""The examples of a split that the margin of a fraction is never smaller than."""


@dataclass(frozen=True)
class Margins:
    """The margins of a comparison.

    >>> Margins().of_fraction(Metric("accuracy", "higher", unit="%"), 0.999, examples=10_000)
    0.0005
    """

    points: float = 0.01
    """For fractions that are shown in percent: an absolute margin, where 0.01 is one percentage point."""
    error: float = 0.5
    """For the same fractions: a share of the baseline's error. The smaller of both margins counts."""
    relative: float = 0.10
    """For costs and losses: a share of the baseline's value."""

    def of_fraction(self, metric: Metric, baseline: float, examples: int | None = None) -> float:
        """The margin of a fraction: min(points, error times the baseline's error), and at least two examples.

        Args:
            metric: whose error is 1 minus its value where higher is better, and its value where lower is.
            baseline: the baseline's mean.
            examples: the examples in the split of the metric; None where they are not known.
        """
        wrong = 1.0 - baseline if metric.better == "higher" else baseline
        share = self.error * max(wrong, 0.0) if math.isfinite(self.error) and math.isfinite(wrong) else math.inf
        # 1 - 0.999 is a rounding error off
        return max(round(min(self.points, share), 12), EXAMPLES / examples if examples else 0.0)


_WAYS = (
    "give percentage points of accuracies, as 1pp, a share of their error, as 50%error, or of costs and losses, as 10%"
)


def parse_margins(texts: Sequence[str]) -> Margins:
    """Parse ``1pp`` (percentage points), ``50%error`` (of the baseline's error) and ``10%`` (of the baseline's value).

    Points that are given count as they are, unless a share of the error is given too.

    Raises:
        UserError: a text is none of these.
    """
    given: dict[str, float] = {}
    for text in texts:
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(pp|%\s*error|%)\s*", text)
        if found is None:
            raise UserError(f"--margin {cut(text)}: {_WAYS}")
        name = {"p": "points", "%": "relative"}[found[2][0]]
        given["error" if found[2].endswith("error") else name] = float(found[1]) / 100
    if "points" in given:
        given.setdefault("error", math.inf)
    elif "error" in given:
        given["points"] = math.inf
    return Margins(**given)
