"""A plan: what a benchmark comes to, as workloads and trials."""

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
    """What scoring needs to know of a workload."""

    name: str
    metrics: tuple[Metric, ...]
    metric: Metric
    """The metric that ranks."""
    split: Literal["train", "valid", "test"]
    """Where the ranking metric is read: test at the step that validation selects, else train at the end."""
    target: Target | None
    target_split: Literal["train", "valid"]
    target_metric: Metric | None
    axis: str = "epoch"
    """The column of a curve that counts what is spent of the budget."""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial with the names under which its benchmark knows it, and the probes wanted on it."""

    workload: str
    optimizer: str
    trial: Trial
    probes: tuple[ProbeRequest, ...] = ()
    keep: Keep | None = None

    @property
    def title(self) -> str:
        """For people: workload, optimizer and seed."""
        return f"{self.workload} · {self.optimizer} · seed {self.trial.seed}"


@dataclass
class Plan:
    """A benchmark expanded against a registry."""

    benchmark: str
    workloads: dict[str, Workload]
    trials: list[PlannedTrial]
    """Those that count."""
    tuning: list[PlannedTrial] = field(default_factory=list)
    """Those that find out with which settings."""


Settings = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""By workload and optimizer hyperparameters, some of them."""
