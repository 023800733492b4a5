"""A trial: the unit of training, caching and resuming, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """Immutable, and refusing keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ComponentRef(Frozen):
    """A component as a trial names it: options that equal their defaults are left out."""

    name: str
    options: dict[str, Any] = {}
    provider: str
    revision: int = 1
    digest: str | None = None


Count = Annotated[int, Field(gt=0, strict=True)]


class Budget(Frozen):
    """How long to train: exactly one of epochs, steps, gradient evaluations and seconds."""

    epochs: Count | None = None
    steps: Count | None = None
    gradient_evaluations: Count | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Budget:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of epochs, steps, gradient_evaluations, seconds")
        return self

    def __str__(self) -> str:
        ((unit, amount),) = self.model_dump(exclude_none=True).items()
        return f"{amount} {unit.replace('_', ' ')}"


class Interval(Frozen):
    """How often to evaluate: exactly one of every so many epochs or steps."""

    epochs: Count | None = None
    steps: Count | None = None

    @model_validator(mode="after")
    def _one(self) -> Interval:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of epochs, steps")
        return self


class Trial(Frozen):
    """One training run, deterministic: everything that changes its numbers and nothing else."""

    problem: ComponentRef
    architecture: ComponentRef
    optimizer: ComponentRef
    budget: Budget
    batch_size: Count | Literal["full"] = "full"
    validation_fraction: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0
    evaluate_every: Interval = Interval(epochs=1)
    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    seed: int

    def canonical(self) -> dict[str, Any]:
        """The trial with defaults left out, so that a field added later changes no old hash."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class ProbeRequest(Frozen):
    """A probe wanted on a trial: not part of the trial's hash."""

    label: str
    probe: ComponentRef

    @property
    def key(self) -> str:
        """``<probe>--<hash8>``: the name of its table on disk."""
        text = json.dumps(self.probe.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        return f"{self.probe.name}--{hashlib.sha256(text.encode()).hexdigest()[:8]}"
