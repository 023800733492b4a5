"""A plan: the workloads and trials of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
    """The split of the ranking metric: test, read at the step that validation selects, or train, read at the end."""
    target: Target | None
    target_split: Literal["train", "valid"]
    target_metric: Metric | None
    axis: str = "epoch"
    """The column of a curve that counts the spent budget."""


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


@dataclass
class Plan:
    """A benchmark expanded against a registry."""

    benchmark: str
    workloads: dict[str, Workload]
    trials: list[PlannedTrial]
    """The trials that are ranked."""
    tuning: list[PlannedTrial] = field(default_factory=list)
    """The trials that find the settings of the ranked trials."""


Settings = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""Hyperparameters to set, by workload and optimizer."""
