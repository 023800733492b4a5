"""Learning-rate schedules: the factor of the learning rate at each step."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from thalweg.contracts.budget import Frozen
from thalweg.errors import unknown
from thalweg.shown import brief

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]

ScheduleName = Literal["constant", "step", "cosine", "warmup-cosine", "inverse-sqrt"]

SETTINGS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "step": ("at", "factor"),
    "cosine": ("final",),
    "warmup-cosine": ("warmup", "final"),
    "inverse-sqrt": (),
}
"""The settings that each schedule has."""


class Schedule(Frozen):
    """The learning rate at step t (from 0 on) is the optimizer's ``lr`` times ``factor_at(t, p, dp)``.

    p is the share of the budget that is spent before the step, and dp what one step spends.

    - ``constant``: 1.
    - ``step``: factor^k, k the number of shares in ``at`` that p has reached.
    - ``cosine``: final + (1 - final) (1 + cos(pi p)) / 2 (Loshchilov & Hutter 2017, one cycle).
    - ``warmup-cosine``: min(1, (p + dp) / warmup) while p < warmup, then the cosine over the rest.
    - ``inverse-sqrt``: 1 / sqrt(t + 1).

    >>> Schedule(name="step").factor_at(50, 0.5, 0.01)
    0.1
    """

    name: ScheduleName = "constant"
    """The shape of the schedule."""
    at: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5, 0.75)
    """Shares of the budget at which the learning rate drops."""
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] = 0.1
    """The factor of each drop."""
    warmup: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False, strict=True)] = 0.05
    """The share of the budget in which the learning rate rises."""
    final: Share = 0.0
    """The share of the learning rate that is left at the end."""

    @model_validator(mode="before")
    @classmethod
    def _only_its_settings(cls, given: Any) -> Any:
        if isinstance(given, dict):
            name = given.get("name", "constant")
            known = SETTINGS.get(name) if isinstance(name, str) else None
            for key in given:
                if known is not None and key != "name" and key not in known:
                    what = unknown("setting", key, known) if known else f"there is no setting {brief(key)}: it has none"
                    raise ValueError(f"schedule {brief(name)}: {what}")
        return given

    def factor_at(self, step: int, spent: float, one: float) -> float:
        """The factor of a step.

        Args:
            step: t, from 0.
            spent: p, the share of the budget that is spent before the step.
            one: dp, the share that one step spends.
        """
        match self.name:
            case "step":
                # a rounding error in p must not move a drop by a step
                return self.factor ** sum(spent >= share - 1e-9 for share in self.at)
            case "cosine":
                return self._cosine(spent)
            case "warmup-cosine" if spent < self.warmup:
                return min(1.0, (spent + one) / self.warmup)
            case "warmup-cosine":
                return self._cosine((spent - self.warmup) / (1 - self.warmup))
            case "inverse-sqrt":
                return 1 / math.sqrt(step + 1)
            case _:
                return 1.0

    def _cosine(self, share: float) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(share, 1.0))) / 2

    def __str__(self) -> str:
        settings = ", ".join(f"{key} {getattr(self, key)}" for key in SETTINGS[self.name])
        return f"{self.name}, {settings}" if settings else self.name

    @property
    def is_constant(self) -> bool:
        """Whether the learning rate never changes."""
        return self.name == "constant"


def _named(value: Any) -> Any:
    table = {"name": value} if isinstance(value, str) else value
    if isinstance(table, Schedule):
        return table
    if not isinstance(table, dict) or "name" not in table:
        examples = "'cosine' or { name = 'cosine', final = 0.1 }"
        raise ValueError(f"{brief(value)} is no schedule such as {examples}; there are: {', '.join(sorted(SETTINGS))}")
    if table["name"] not in SETTINGS:
        raise ValueError(unknown("schedule", str(table["name"]), SETTINGS))
    if not isinstance(table.get("at", ()), list | tuple):
        raise ValueError(f"at = {brief(table['at'])} is no list of shares of the budget, such as [0.5, 0.75]")
    return table


NamedSchedule = Annotated[Schedule, BeforeValidator(_named)]
"""``"cosine"`` or ``{ name = "cosine", final = 0.1 }``."""
