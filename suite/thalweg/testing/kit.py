"""The checks of registered components."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.testing import architectures, claims, executors, importers, optimizers, others, probes, problems
from thalweg.testing.condition import Condition, DoesNotApply, NotMet
from thalweg.training.contained import contained

CHECKS: dict[str, tuple[Condition, ...]] = {
    "optimizers": optimizers.CHECKS,
    "architectures": architectures.CHECKS,
    "problems": problems.CHECKS,
    "probes": probes.CHECKS,
    "benchmarks": others.BENCHMARK_CHECKS,
    "executors": executors.CHECKS,
    "importers": importers.CHECKS,
    "claims": claims.CHECKS,
}
"""The conditions of each kind of component."""

_SELF = {Path(torch.__file__).parent, Path(__file__).parent}

Status = Literal["passed", "failed", "skipped", "timed out", "died"]


def read_more(kind: str) -> str:
    """The section of the documentation that explains the checks of a kind of component.

    >>> read_more("optimizers")
    'docs/checks.md#optimizers'
    """
    return f"docs/checks.md#{kind}"


@dataclass(frozen=True)
class Outcome:
    """What came of a check."""

    status: Status
    expected: str = ""
    found: str = ""
    """What the check found; the reason where it was skipped."""
    hint: str = ""
    seconds: float = 0.0
    ended: bool = True
    """Whether the check came to its end; an error of the component, a hang and a crash cut it off."""


@dataclass(frozen=True)
class Check:
    """One check of one component. Its call raises ``NotMet``, an AssertionError, if the component does not conform."""

    registry: Registry
    kind: str
    name: str
    condition: Condition

    def __call__(self) -> None:
        """Run the check, and restore torch's settings where the component has changed them."""
        outcome = self.outcome()
        if outcome.status == "failed":
            raise self.error(outcome)

    def error(self, outcome: Outcome) -> NotMet:
        """The error that tells a failure, with notes on what it means and where to read more."""
        error = NotMet(outcome.expected, outcome.found, outcome.hint)
        error.add_note(f"This means: {self.condition.means}.\nRead {read_more(self.kind)}.")
        return error

    def outcome(self) -> Outcome:
        """Run the check, restore torch's settings, and return what came of it. An error in a component is a failure."""
        started = time.perf_counter()
        status: Status = "passed"
        expected, found, hint, ended = self.condition.statement, "", "", True
        try:
            with contained():
                self.condition(self.registry, self.name)
        except DoesNotApply as reason:
            status, found = "skipped", str(reason)
        except NotMet as error:
            status, expected, found, hint = "failed", error.expected, error.found, error.hint
        except (Exception, SystemExit) as error:
            status, found, ended = "failed", f"{Failure.of(error).line} ({_place(error)})", False
            expected = f"that {expected}"
        return Outcome(status, expected, found, hint, time.perf_counter() - started, ended)

    def __str__(self) -> str:
        return f"{self.kind[:-1]}-{self.name}-{self.condition.name}"


def _place(error: BaseException) -> str:
    """The file and line that raised an error, outside of torch and the kit where there is such a line."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _SELF.intersection(Path(frame.filename).parents)]
    last = (theirs or frames)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"


def checks(registry: Registry, plugin: str | None = None) -> list[Check]:
    """Every check of all registered components, or of one plugin's components."""
    return [
        Check(registry, kind, entry.name, one)
        for kind, conditions in CHECKS.items()
        for entry in registry.entries(kind)
        if plugin is None or entry.plugin.name == plugin
        for one in conditions
    ]
