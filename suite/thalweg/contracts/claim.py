"""A claim: a statement decided by measurements, by a rule fixed beforehand."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from thalweg.contracts.component import Component

if TYPE_CHECKING:
    import altair
    import pandas
    import torch

Verdict = Literal["holds", "holds conditionally", "not reproduced", "inconclusive"]

T = TypeVar("T")

ID = re.compile(r"[A-Za-z][A-Za-z0-9]{1,30}(-[A-Za-z0-9]{1,30}){0,5}")
"""Allowed ids of claims, which become names of folders. A single letter names a section on the command line."""
RESERVED_IDS = frozenset({"trained", "trials", "timings"})
"""Names that mean something in folders of results."""

COLUMNS = ("seed", "setting", "quantity", "series", "x", "value", "note")
"""The columns of a claim's measurements.

``setting`` and ``series`` are texts, empty where a quantity has one value. ``x`` is missing (nan) in the rows that
decide. Rows with an ``x`` are curves for the picture. ``note`` says why a ``value`` is missing.
"""


@dataclass(frozen=True)
class Part:
    """One part of a decision: a statistic with its interval against the bound fixed beforehand."""

    name: str
    """What is measured; of a log ratio, the ratio."""
    statistic: float
    """The mean over seeds; where every seed must keep the bound, the seed that is nearest to breaking it."""
    low: float
    """The low end of the 95% interval; where every seed must keep the bound, the smallest value."""
    high: float
    threshold: float
    """The bound; of a range, its low end."""
    verdict: Verdict
    side: Literal["above", "below", "within"] = "above"
    """The side of the bound on which the part holds."""
    upper: float | None = None
    """The high end of a range."""
    unit: str = ""
    """``"log ratio"`` or ``"difference"``; empty for a measured value."""
    condition: str = ""
    """The level of a condition that the part belongs to."""
    reported: bool = False
    """Whether the part is only reported and decides nothing."""
    seeds: int = 0
    """The number of seeds with a value."""
    lost: tuple[str, ...] = ()
    """The seeds without a value, each with its reason."""


@dataclass(frozen=True)
class Decision:
    """The parts of a decision, and the verdict that the claim's rule draws from them."""

    verdict: Verdict
    parts: tuple[Part, ...]
    condition: str = ""
    """Where the claim holds and where it does not, where it has conditions."""

    @property
    def deciding(self) -> Part:
        """The part to show first: the first one with the claim's verdict, else the first one that decides."""
        counted = [part for part in self.parts if not part.reported]
        return next((part for part in counted if part.verdict == self.verdict), counted[0])


@dataclass(frozen=True)
class Experiment:
    """Trials that a claim needs: the content of a benchmark file under a name.

    Claims that give one name and one content share the trials. The content has the keys of a benchmark file (see
    docs/benchmarks.md), ``seeds`` included.
    """

    name: str
    content: Mapping[str, Any]


class MeasuredTrial(Protocol):
    """A trial of an experiment, after training."""

    @property
    def workload(self) -> str:
        """The name of the workload."""

    @property
    def optimizer(self) -> str:
        """The label of the optimizer."""

    @property
    def seed(self) -> int:
        """The seed."""

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """The optimizer's settings, tuned ones included; settings at their defaults are left out."""

    @property
    def lost(self) -> str:
        """Why the trial has no result; empty for a trial that ended well. A diverged trial has a curve all the same."""

    def curve(self) -> pandas.DataFrame:
        """One row per evaluation, split and metric; columns as ``step``, ``work``, ``split``, ``metric``, ``value``."""

    def table(self, probe: str) -> pandas.DataFrame:
        """The table of a probe, by the probe's label in the experiment.

        Raises:
            LookupError: the probe has no table, because it failed or the trial is lost.
        """

    def weights(self, which: Literal["initial", "final"] = "final") -> dict[str, torch.Tensor]:
        """The weights that are kept of trials with a probe, and of all trials of an experiment with ``keep``."""

    def trajectory(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps (T,) and parameters (T, P) at each evaluation, with ``keep = "trajectory"``."""


class ClaimContext(Protocol):
    """What ``measure`` may use."""

    @property
    def tier(self) -> str:
        """The tier that is measured."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of the tier."""

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""

    def trials(self, experiment: str, seed: int | None = None) -> list[MeasuredTrial]:
        """The trials of an experiment that the claim needs; of a tuned one, the trials of the best settings.

        Args:
            experiment: its name.
            seed: only trials of this seed; None for all.
        """

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` returns, made once for all seeds of this claim: for computations that batch the seeds."""


@dataclass
class Measurements:
    """Collects the rows of one seed.

    >>> rows = Measurements()
    >>> rows.add("steps", 12.0, series="adam")
    >>> rows.add("steps", None, series="sgd", note="diverged")
    >>> rows.table()[["quantity", "series", "value", "note"]].values.tolist()
    [['steps', 'adam', 12.0, ''], ['steps', 'sgd', nan, 'diverged']]
    """

    _rows: list[tuple[str, str, str, float, float, str]] = field(default_factory=list)

    def add(
        self,
        quantity: str,
        value: float | None,
        *,
        setting: str = "",
        series: str = "",
        x: float = math.nan,
        note: str = "",
    ) -> None:
        """Add one row; a value of None is missing, and ``note`` says why."""
        number = math.nan if value is None else float(value)
        self._rows.append((setting, quantity, series, float(x), number, note))

    def curve(
        self, quantity: str, xs: Iterable[float], values: Iterable[float], *, setting: str = "", series: str = ""
    ) -> None:
        """Add the points of a curve, for the picture."""
        for x, value in zip(xs, values, strict=True):
            self.add(quantity, value, setting=setting, series=series, x=x)

    def table(self) -> pandas.DataFrame:
        """The rows as a table with ``COLUMNS`` but the seed."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=list(COLUMNS[1:]))


class Claim(Component, ABC):
    """A checkable statement. ``measure`` is cached per seed; ``decide`` is pure and looks at the measurements alone.

    In the order in which things happen: ``needs`` names the experiments of a tier, which are trained for all claims
    together. ``measure`` is called for each seed that is not on disk. ``decide`` and ``chart`` read the table of all
    seeds.
    """

    kind: ClassVar[str] = "claim"
    statement: str = ""
    """The thought in plain words, one or two sentences."""
    section: str = ""
    """The heading under which the claim is listed."""
    method: str = ""
    """What is done, in a few sentences, with the choices that the source leaves open."""
    caveat: str = ""
    """What later literature says, and what the measurement cannot show."""
    fault: str = ""
    """Why the rule turned out unable to decide, where it did. The rule stays, and the reason is shown beside it."""
    intervals_over: str = "seeds"
    """What the intervals of an empirical claim are taken over."""
    theorem: bool = False
    """Whether the statement is proven, so that every seed must keep it."""
    tiers: tuple[str, ...] = ("quick",)
    seeds: Mapping[str, int]
    """The number of seeds of each tier."""

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The experiments that ``measure`` reads."""
        return ()

    @abstractmethod
    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Measure for one seed: a table with ``COLUMNS`` but the seed, as ``Measurements`` makes."""

    @abstractmethod
    def decide(self, table: pandas.DataFrame, tier: str) -> Decision:
        """Decide from the measurements of all seeds (``COLUMNS``). A missing seed or value is told, and is no error."""

    @abstractmethod
    def synthetic(self, effect: Literal[1, -1], noise: float, tier: str) -> pandas.DataFrame:
        """Measurements with a known answer, for the conformance kit.

        Args:
            effect: 1 for measurements of a claim that holds, -1 for the opposite.
            noise: the spread over seeds, in units of the distance from the bound.
            tier: whose number of seeds the table has.
        """

    @abstractmethod
    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Draw the measurements."""

    def figures(self, table: pandas.DataFrame) -> Mapping[str, altair.TopLevelMixin | str]:
        """Figures of a lecture that the measurements draw again, by file name: charts, or pages of HTML."""
        return {}

    def contract_violations(self) -> list[str]:
        """The faults of the declaration. A claim must declare its statement, its source and its tiers."""
        wrong = [text for text in super().contract_violations() if not text.startswith("name ")]
        if not isinstance(self.name, str) or not ID.fullmatch(self.name):
            wrong.append(f"name {self.name!r} is no id such as 'A1' or 'my-claim'")
        elif self.name.lower() in RESERVED_IDS:
            wrong.append(f"name {self.name!r} is taken: folders of that name hold trials")
        for field_ in ("statement", "source"):
            if not getattr(self, field_):
                wrong.append(f"{field_} must say {'what is claimed' if field_ == 'statement' else 'who claims it'}")
        seeds: Any = getattr(self, "seeds", None)
        if not self.tiers:
            wrong.append("tiers must name at least one tier")
        if not isinstance(seeds, Mapping) or set(seeds) != set(self.tiers):
            wrong.append("seeds must give the number of seeds of each tier")
        elif not all(isinstance(count, int) and count >= 1 for count in seeds.values()):
            wrong.append("seeds must be whole numbers from 1 up")
        return wrong
