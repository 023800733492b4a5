"""What every registered thing has in common."""

from __future__ import annotations

import inspect
import re
from typing import ClassVar

from thalweg.contracts.option import Option

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

RESERVED = frozenset(
    {
        "name",
        "optimizer",
        "probe",
        "problem",
        "architecture",
        "budget",
        "batch_size",
        "workloads",
        "optimizers",
        "seeds",
        "schedule",
        "clip_norm",
        "coupled_weight_decay",
        "decoupled_weight_decay",
        "weight_decay_on",
    }
)
"""Keys that mean something in a benchmark file, so no option may be called so."""


class Component:
    """Base of every optimizer, architecture, problem, probe, claim and executor.

    ``revision`` counts up whenever a change (a default included) alters the numbers that come out: it is part of a
    trial's hash, so results of the old revision are not taken for results of the new one.
    """

    name: str = ""
    """Lower-case words joined by hyphens, unique among things of its kind."""
    summary: str = ""
    """One line for lists."""
    equation: str = ""
    """What it computes, as a formula in plain text."""
    source: str = ""
    """Paper, section and equation, or where the data comes from."""
    revision: int = 1
    options: tuple[Option, ...] = ()

    kind: ClassVar[str] = "component"

    @property
    def description(self) -> str:
        """The class's docstring, for readers who want more than the summary."""
        return inspect.cleandoc(type(self).__doc__ or "")

    def contract_violations(self) -> list[str]:
        """The faults of the declaration, one sentence each; empty where the component can be registered."""
        wrong = []
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            wrong.append(f"name {self.name!r} is not lower-case words joined by hyphens, such as 'my-{self.kind}'")
        if not isinstance(self.summary, str) or not self.summary.strip() or "\n" in self.summary:
            wrong.append("summary must be one line that says what it is")
        if not isinstance(self.revision, int) or isinstance(self.revision, bool) or self.revision < 1:
            wrong.append(f"revision {self.revision!r} is not a whole number from 1 up")
        options = self.options
        if not isinstance(options, tuple) or not all(isinstance(option, Option) for option in options):
            return [*wrong, "options must be a tuple of thalweg.Option"]
        names = [option.name for option in options]
        wrong += [f"option {name!r} is declared twice" for name in sorted(set(names)) if names.count(name) > 1]
        wrong += [f"option {name!r} is a reserved word of benchmark files" for name in names if name in RESERVED]
        for option in options:
            wrong += option.contract_violations()
        return wrong
