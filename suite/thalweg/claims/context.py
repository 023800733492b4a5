"""What ``Claim.measure`` sees: the trials of its experiments, read from disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import pandas as pd

from thalweg.contracts.claim import MeasuredTrial
from thalweg.errors import unknown
from thalweg.plan import PlannedTrial
from thalweg.store.documents import ENDED
from thalweg.store.results import BenchmarkResults
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import read_weights

if TYPE_CHECKING:
    import torch

    from thalweg.contracts.probe import SavedWeights

T = TypeVar("T")


@dataclass
class TrainedTrial:
    """A trial of an experiment. Implements ``contracts.claim.MeasuredTrial``."""

    planned: PlannedTrial
    results: BenchmarkResults

    @property
    def workload(self) -> str:
        """The name of the workload in the experiment."""
        return self.planned.workload

    @property
    def optimizer(self) -> str:
        """The label of the optimizer."""
        return self.planned.optimizer

    @property
    def seed(self) -> int:
        """The seed."""
        return self.planned.trial.seed

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """The optimizer's settings that differ from its defaults."""
        return self.planned.trial.optimizer.options

    @cached_property
    def _stored(self) -> StoredTrial | None:
        return self.results.find(self.planned.trial.hash)

    @property
    def lost(self) -> str:
        """Why the trial has no result."""
        if self._stored is None:
            return "not trained"
        document = self._stored.document
        return "" if document.status == "done" else f"{document.status}: {document.reason}".rstrip(": ")

    @property
    def seconds(self) -> float:
        """The time that training took."""
        return float(self._stored.document.summary.get("seconds") or 0.0) if self._stored else 0.0

    def curve(self) -> pd.DataFrame:
        """The curve; empty for a trial that failed."""
        if self._stored is None or self._stored.document.status not in ENDED:
            return pd.DataFrame(columns=["step", "epoch", "split", "metric", "value"])
        return self._stored.curve()

    def table(self, probe: str) -> pd.DataFrame:
        """The table of the probe of that label."""
        keys = {request.label: request.key for request in self.planned.probes}
        if probe not in keys:
            raise LookupError(unknown("probe", probe, keys))
        measured = self._stored.document.probes.get(keys[probe]) if self._stored else None
        if self._stored is None or measured is None or measured.status != "done":
            reason = measured.error.line if measured and measured.error else self.lost or "it was not measured"
            raise LookupError(f"{self.planned.title} has no table of {probe!r}: {reason}")
        return self._stored.table(keys[probe])

    @cached_property
    def _weights(self) -> SavedWeights:
        if self._stored is None:
            raise LookupError(f"{self.planned.title} has no weights: {self.lost}")
        return read_weights(self._stored.files)

    def weights(self, which: Literal["initial", "final"] = "final") -> dict[str, torch.Tensor]:
        """The weights, by their names in the state dict."""
        found = self._weights.initial if which == "initial" else self._weights.final
        if found is None:
            raise LookupError(f"{self.planned.title} has no {which} weights{': ' + self.lost if self.lost else ''}")
        return dict(found)

    def trajectory(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Steps (T,) and parameters (T, P)."""
        import torch

        if self._weights.trajectory is None:
            raise LookupError(f"{self.planned.title} has no trajectory{': ' + self.lost if self.lost else ''}")
        return torch.tensor(self._weights.trajectory_steps), self._weights.trajectory


@dataclass
class Context:
    """Implements ``contracts.claim.ClaimContext``."""

    tier: str
    seeds: tuple[int, ...]
    device: str
    planned: Mapping[str, tuple[PlannedTrial, ...]]
    """The trials that decide, by experiment."""
    results: BenchmarkResults
    _made: dict[str, Any] = field(default_factory=dict)
    _trials: dict[str, list[TrainedTrial]] = field(default_factory=dict)

    def trials(self, experiment: str, seed: int | None = None) -> list[MeasuredTrial]:
        """The trials of an experiment.

        Raises:
            LookupError: the claim did not ask for the experiment.
        """
        if experiment not in self.planned:
            raise LookupError(unknown("experiment", experiment, self.planned))
        if experiment not in self._trials:
            self._trials[experiment] = [TrainedTrial(one, self.results) for one in self.planned[experiment]]
        return [one for one in self._trials[experiment] if seed is None or one.seed == seed]

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` returned the first time."""
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])
