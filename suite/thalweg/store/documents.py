"""``trial.json``: the trial as it was asked for, where it ran, and its outcome. Schema version 1."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, model_validator
from typing_extensions import TypedDict

from thalweg import guard
from thalweg.benchmark_file import NAME
from thalweg.contracts import component
from thalweg.failure import Failure
from thalweg.trial import ProbeRequest, Trial

Status = Literal["done", "diverged", "failed", "unfinished"]
"""``unfinished``: the run was interrupted or killed while it trained the trial, which counts for nobody."""

ENDED = ("done", "diverged")
"""The statuses of trials that have a curve to their end."""

KILLED = "Killed"
"""The kind of the failure that an unfinished trial records."""

# readers rely on these types and patterns: a document may come from anywhere

Whole = Annotated[int, Field(ge=0, lt=1 << 63)]
Real = float | None
Place = Annotated[str, Field(pattern=f"^{guard.PART.pattern}(/{guard.PART.pattern}){{0,2}}$")]
"""The name of a file in the trial's folder."""


class Summary(TypedDict, total=False):
    """The outcome of the training in numbers; ``final`` by split and metric. Other keys are kept unchanged."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    final: dict[str, dict[str, Real]]
    selected_step: Whole | None
    step: Whole | None
    epoch: Real
    examples: Whole
    gradient_evaluations: Whole
    curvature_products: Whole
    factor_inversions: Whole
    work: Real
    costs: dict[str, Real | str]
    evaluations: dict[str, Whole]
    statistics_examples: Whole
    parameters: Whole
    steps_per_epoch: Whole
    state_bytes: Real
    seconds: Real
    warm_up_seconds: Real
    batched: Whole
    trained_anew: str
    coarse_state: list[str]


class Environment(TypedDict, total=False):
    """Where the trial ran. Other keys are kept unchanged."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True)  # type: ignore[misc]

    thalweg: str
    python: str
    platform: str
    cpu: str
    device: str
    git_commit: str | None
    packages: dict[str, str]
    plugins: dict[str, str]
    cores: Whole | None
    threads: Whole | None


def _checked_as(kind: type) -> GetPydanticSchema:
    """Type checkers see a dictionary, and pydantic checks this kind of dictionary."""
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(kind))


class ProbeDocument(BaseModel):
    """A probe of a trial: the settings of its table, or why the probe has no table."""

    model_config = ConfigDict(extra="ignore")

    request: ProbeRequest
    status: Literal["done", "failed"]
    error: Failure | None = None
    cost: dict[str, float] = {}
    """The probe's own cost, without training: seconds, examples, gradient evaluations, curvature products."""


class ImportedFrom(BaseModel):
    """Where a run was imported from. Nobody here trained it, so it has no environment."""

    model_config = ConfigDict(extra="ignore")

    format: str
    """The name of the reader."""
    reader: str = ""
    """The versions of the reader and of its library."""
    source: str = ""
    """The name of the file or folder."""
    run: str = ""
    """The run's name in its source."""
    sha256: str = ""
    """The digest of the file; empty for a folder."""
    tuning: bool = False
    """Whether an export said that tuning trained the run, which ranks nowhere then."""


class TrialDocument(BaseModel):
    """The content of ``trial.json``. Keys may be added within a schema version, so unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    hash: Annotated[str, Field(pattern=f"^{guard.HASH.pattern}$")]
    workload: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    optimizer: str
    """The label under which the benchmark lists the optimizer; ``trial.optimizer.name`` is the plugin's name."""
    trial: Trial
    options: dict[str, dict[str, Any]] = {}
    """Every option of problem, architecture and optimizer with its value, defaults included."""
    status: Status
    reason: str = ""
    error: Failure | None = None
    environment: Annotated[dict[str, Any], _checked_as(Environment)] = {}
    summary: Annotated[dict[str, Any], _checked_as(Summary)] = {}
    imported: ImportedFrom | None = None
    """Where the run was imported from; None for a trial that was trained."""
    probes: dict[Place, ProbeDocument] = {}
    files: dict[Place, str] = {}
    """SHA-256 of each other file in the trial's folder, by name."""

    @model_validator(mode="before")
    @classmethod
    def _unfinished(cls, table: Any) -> Any:
        """Read trials that earlier versions recorded as failed because their process was killed."""
        error = table.get("error") if isinstance(table, dict) and table.get("status") == "failed" else None
        killed = isinstance(error, dict) and error.get("kind") == KILLED
        return table | {"status": "unfinished"} if killed else table

    @model_validator(mode="after")
    def _named(self) -> TrialDocument:
        """Check names: an optimizer's is part of the folder's name, and a probe's key is part of its table's name."""
        for ref in (self.trial.problem, self.trial.architecture, self.trial.optimizer):
            if not component.NAME.fullmatch(ref.name):
                raise ValueError(f"{ref.name!r} is no name of a component")
        for key, probe in self.probes.items():
            if probe.request.key != key:
                raise ValueError(f"probes.{key}: the request is of {probe.request.key!r}")
        return self

    @property
    def folder(self) -> str:
        """The name of the trial's folder."""
        return f"{self.workload}--{self.trial.optimizer.name}--{self.hash}"

    def to_json(self) -> str:
        """Indented JSON, trials and probe requests without defaults."""
        table = self.model_dump(mode="json", by_alias=True)
        table["trial"] = self.trial.model_dump(mode="json", exclude_defaults=True)
        if self.imported is None:
            del table["imported"]
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
