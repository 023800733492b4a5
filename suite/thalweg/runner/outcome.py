"""What a run tells: of one trial, and of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from thalweg.benchmark import PlannedTrial
from thalweg.failure import Failure
from thalweg.store.documents import Status
from thalweg.store.files import FolderFiles
from thalweg.store.trials import StoredTrial, read_trial


@dataclass
class TrialResult:
    """What came of a trial that was trained."""

    status: Status
    reason: str = ""
    error: Failure | None = None
    path: Path | None = None
    """Where it is saved; None where even that failed."""
    summary: dict[str, Any] = field(default_factory=dict)
    side_errors: dict[str, Failure] = field(default_factory=dict)
    """What went wrong beside the training: by "probe LABEL" or "hook NAME"."""
    cached: bool = False
    """Whether another run had trained it in the meantime."""

    @property
    def saved(self) -> StoredTrial | None:
        """What is on disk: ``document`` (names, every option, environment), ``curve()``, ``table(key)`` of a probe."""
        found = read_trial(FolderFiles(self.path)) if self.path is not None else None
        return found if isinstance(found, StoredTrial) else None

    @property
    def benchmark(self) -> str:
        """The benchmark's name; empty where nothing is saved."""
        return self.path.parents[1].name if self.path is not None else ""


@dataclass
class RunReport:
    """What came of a run."""

    benchmark: str
    results: Path
    total: int = 0
    seconds: float = 0.0
    cached: int = 0
    trained: list[tuple[PlannedTrial, TrialResult]] = field(default_factory=list)
    outcome: Literal["complete", "interrupted", "stopped"] = "complete"
    """Stopped: what the executor runs on was gone."""
    errors: dict[str, Failure] = field(default_factory=dict)
    """What went wrong beside the trials: by "hook NAME"."""

    def count(self, status: Status) -> int:
        """How many of the trials trained now ended so."""
        return sum(result.status == status for _, result in self.trained)

    @property
    def failures(self) -> list[dict[str, str]]:
        """Trials that failed, and probes and hooks that failed on trials that did not."""
        rows = []
        for planned, result in self.trained:
            if result.error is not None:
                rows.append({"trial": planned.title, "kind": result.error.kind, "message": result.error.message})
            for label, error in result.side_errors.items():
                rows.append({"trial": f"{planned.title} · {label}", "kind": error.kind, "message": error.message})
        for label, error in self.errors.items():
            rows.append({"trial": label, "kind": error.kind, "message": error.message})
        return rows

    def document(self) -> dict[str, Any]:
        """The JSON document of ``thalweg run --json``."""
        return {
            "schema": 1,
            "benchmark": self.benchmark,
            "results": str(self.results),
            "seconds": round(self.seconds, 3),
            "outcome": self.outcome,
            "trials": {
                "total": self.total,
                "trained": len(self.trained),
                "cached": self.cached,
                "diverged": self.count("diverged"),
                "failed": self.count("failed"),
            },
            "failures": self.failures,
        }
