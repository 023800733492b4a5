"""A plan: the workloads and trials of a benchmark."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, overload

from thalweg.benchmark_file import Keep
from thalweg.contracts import Metric
from thalweg.contracts.budget import Target
from thalweg.trial import ProbeRequest, Trial


@dataclass(frozen=True)
class Workload:
    """The properties of a workload that scoring needs."""

    name: str
    metrics: tuple[Metric, ...]
    metric: Metric
    """The metric that ranks."""
    split: Literal["train", "valid", "test"]
    """The split of the ranking metric: test, read at the step that validation selects, or train, read at the end.

    Imported curves may have none but validation, read at the end.
    """
    target: Target | None
    target_split: Literal["train", "valid"]
    target_metric: Metric | None
    axis: str = "epoch"
    """The column of a curve that counts the spent budget."""
    start: float | None = None
    """The value of the target's metric before training, where the target or the problem declares it."""
    selects: bool = False
    """Whether curves have the test metric at many steps, of which the one counts that validation selects."""
    known: frozenset[str] | None = None
    """Of imported curves the columns that their source tells; None where a run here wrote all."""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial with its names in the benchmark, and the probes wanted on it."""

    workload: str
    optimizer: str
    trial: Trial
    probes: tuple[ProbeRequest, ...] = ()
    keep: Keep | None = None

    @property
    def title(self) -> str:
        """Workload, optimizer and seed as one text."""
        return f"{self.workload} · {self.optimizer} · seed {self.trial.seed}"


@dataclass(frozen=True)
class Seeds:
    """Trials of a plan that differ in nothing but the seed."""

    workload: str
    optimizer: str
    base: Trial
    """The trial at seed 0."""
    seeds: Sequence[int]
    requests: Sequence[tuple[Sequence[int] | None, ProbeRequest]] = ()
    """The probes wanted, each with its seeds (None: all seeds)."""
    keep: Keep | None = None

    def trials(self) -> Iterator[PlannedTrial]:
        """A trial for each seed."""
        for trial in self.base.at_seeds(self.seeds):
            probes = tuple([request for at, request in self.requests if at is None or trial.seed in at])
            yield PlannedTrial(self.workload, self.optimizer, trial, probes, self.keep)


class PlannedTrials(Sequence[PlannedTrial]):
    """The trials of a plan, by groups that differ in nothing but the seed.

    The trials are made when the first of them is wanted: a leaderboard needs only the groups of 100,000 trials.
    """

    def __init__(self, groups: Sequence[Seeds]) -> None:
        self.groups = groups

    @cached_property
    def _made(self) -> list[PlannedTrial]:
        with uncollected():
            return [planned for group in self.groups for planned in group.trials()]

    @overload
    def __getitem__(self, place: int) -> PlannedTrial: ...
    @overload
    def __getitem__(self, place: slice) -> list[PlannedTrial]: ...
    def __getitem__(self, place: int | slice) -> PlannedTrial | list[PlannedTrial]:
        return self._made[place]

    def __iter__(self) -> Iterator[PlannedTrial]:
        return iter(self._made)

    def __len__(self) -> int:
        return sum(len(group.seeds) for group in self.groups)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


@contextmanager
def uncollected() -> Iterator[None]:
    """Switch the garbage collector off: the thousands of new objects all stay, so it would search in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def pairs_of(trials: Sequence[PlannedTrial]) -> dict[tuple[str, str], Trial]:
    """For each workload and optimizer the first of its trials; of groups, that trial at seed 0."""
    found: dict[tuple[str, str], Trial] = {}
    if isinstance(trials, PlannedTrials):
        for group in trials.groups:
            found.setdefault((group.workload, group.optimizer), group.base)
    else:
        for planned in trials:
            found.setdefault((planned.workload, planned.optimizer), planned.trial)
    return found


class Choice(NamedTuple):
    """The variance that the choice of a setting adds to a mean, on both scales of a metric."""

    linear: float = 0.0
    log: float = 0.0
    """On logarithms; 0 where a value is 0."""


@dataclass
class Plan:
    """A benchmark expanded against a registry."""

    benchmark: str
    workloads: dict[str, Workload]
    trials: Sequence[PlannedTrial]
    """The trials that are ranked."""
    tuning: list[PlannedTrial] = field(default_factory=list)
    """The trials that find the settings of the ranked trials."""
    choice: Mapping[tuple[str, str], Choice] = field(default_factory=dict)
    """What the choice of a setting adds to the variance of a mean, by workload and optimizer."""


Settings = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""Hyperparameters to set, by workload and optimizer."""
