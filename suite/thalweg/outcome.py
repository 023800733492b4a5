"""The outcome of a trial, and of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from thalweg.failure import Failure
from thalweg.plan import PlannedTrial
from thalweg.printed import LOG
from thalweg.store.documents import Status
from thalweg.store.files import FolderFiles
from thalweg.store.trials import StoredTrial, read_trial


@dataclass
class TrialResult:
    """The outcome of a trial that was trained."""

    status: Status
    reason: str = ""
    error: Failure | None = None
    path: Path | None = None
    """The folder of the saved trial; None where saving failed."""
    summary: dict[str, Any] = field(default_factory=dict)
    side_errors: dict[str, Failure] = field(default_factory=dict)
    """Failures of probes and hooks, by "probe LABEL" or "hook NAME"."""
    cached: bool = False
    """Whether another run had trained the trial in the meantime."""

    @property
    def log(self) -> Path | None:
        """The file with what the trial printed; None where it printed nothing, or was not saved."""
        path = None if self.path is None else self.path / LOG
        return path if path is not None and path.is_file() else None

    @property
    def saved(self) -> StoredTrial | None:
        """The saved trial: ``document`` (names, options, environment), ``curve()``, and ``table(key)`` of a probe."""
        found = read_trial(FolderFiles(self.path)) if self.path is not None else None
        return found if isinstance(found, StoredTrial) else None

    @property
    def benchmark(self) -> str:
        """The benchmark's name; empty where the trial was not saved."""
        return self.path.parents[1].name if self.path is not None else ""


@dataclass
class RunReport:
    """The outcome of a run."""

    benchmark: str
    results: Path
    total: int = 0
    seconds: float = 0.0
    cached: int = 0
    trained: list[tuple[PlannedTrial, TrialResult]] = field(default_factory=list)
    outcome: Literal["complete", "interrupted", "stopped"] = "complete"
    """``stopped``: the executor could run nothing more, because its cluster was gone for instance."""
    errors: dict[str, Failure] = field(default_factory=dict)
    """Failures outside of trials, by "hook NAME", "executor NAME" or "results"."""

    def count(self, status: Status) -> int:
        """The number of trials of this run that ended with a status."""
        return sum(result.status == status for _, result in self.trained)

    @property
    def failures(self) -> list[dict[str, str]]:
        """The failures of trials, and of probes and hooks on trials that did not fail."""
        rows = []
        for planned, result in self.trained:
            if result.error is not None:
                log = {"log": str(result.log)} if result.log else {}
                rows.append({"trial": planned.title, "kind": result.error.kind, "message": result.error.message} | log)
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
