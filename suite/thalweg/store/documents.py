"""``trial.json``: what was asked, where it ran, and what came of it. Schema version 1."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from thalweg.failure import Failure
from thalweg.trial import ProbeRequest, Trial

Status = Literal["done", "diverged", "failed"]


class ProbeDocument(BaseModel):
    """A probe of a trial: its table's settings, or why there is no table."""

    model_config = ConfigDict(extra="ignore")

    request: ProbeRequest
    status: Literal["done", "failed"]
    error: Failure | None = None
    cost: dict[str, float] = {}
    """What it took beside training: seconds, examples, gradient evaluations, curvature products."""


class TrialDocument(BaseModel):
    """The content of ``trial.json``. Keys may be added within a schema version, so unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    hash: str
    workload: str
    optimizer: str
    """The label under which the benchmark lists the optimizer; ``trial.optimizer.name`` is the plugin's name."""
    trial: Trial
    options: dict[str, dict[str, Any]] = {}
    """Every option of problem, architecture and optimizer with its value, defaults included."""
    status: Status
    reason: str = ""
    error: Failure | None = None
    environment: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    probes: dict[str, ProbeDocument] = {}
    files: dict[str, str] = {}
    """SHA-256 of each file beside this one, by its path in the trial's directory."""

    def to_json(self) -> str:
        """Indented JSON, trials and probe requests without defaults."""
        table = self.model_dump(mode="json", by_alias=True)
        table["trial"] = self.trial.model_dump(mode="json", exclude_defaults=True)
        for key, probe in self.probes.items():
            table["probes"][key]["request"] = probe.request.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(finite(table), indent=1, allow_nan=False)


def finite(value: Any) -> Any:
    """The value with every nan and infinity in it replaced by None, since JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
