"""What ``thalweg compare`` is asked, and the comparison that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.errors import UserError
from thalweg.present.comparison import Comparison, compare_sides
from thalweg.present.sides import Side
from thalweg.registry import Registry
from thalweg.scoring.compare import Terms
from thalweg.scoring.margins import parse_margins
from thalweg.scoring.measures import SECONDS


@dataclass(frozen=True)
class Question:
    """How two sides are compared."""

    metric: str | None = None
    """The only metric or cost to compare; None: each workload's own metric, and the steps to its target."""
    margins: tuple[str, ...] = ()
    """Margins within which sides are the same, such as ``1pp``, ``50%error`` and ``10%``."""
    paired: bool = True
    """Whether equal seeds of both sides are pairs."""

    def check(self) -> None:
        """Raise UserError where the metric is never compared, or a margin is none."""
        if self.metric == SECONDS.name:
            what = "seconds of two runs are not compared, since the machine was another one or did other work"
            raise UserError(f"--metric {SECONDS.name}: {what}; 'thalweg time BASELINE CANDIDATE' times both in turn")
        parse_margins(self.margins)


def compare_as_asked(before: Side, after: Side, registry: Registry, question: Question) -> Comparison:
    """Compare two sides; a note says where seeds of imported runs are no pairs.

    Raises:
        UserError: one side alone names an optimizer, or no workload has the metric.
    """
    if (before.optimizer is None) != (after.optimizer is None):
        raise UserError("name an optimizer in BASELINE and in CANDIDATE, or in neither: FOLDER:OPTIMIZER")
    unpaired = [side for side in (before, after) if (told := side.benchmark.spec.imported) and not told.paired]
    terms = Terms(parse_margins(question.margins), paired=question.paired and not unpaired)
    found = compare_sides(before, after, registry, question.metric, terms)
    if question.paired and unpaired:
        found.notes.append(
            "seeds are no pairs: nothing says that equal seeds of imported runs had the same start and data"
        )
    return found
