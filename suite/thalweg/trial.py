"""A trial: the unit of training, caching and resuming, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from operator import gt, lt
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from thalweg.contracts.budget import Budget, Count, Frozen, Interval
from thalweg.contracts.schedule import Schedule


class Found(TypedDict, total=False):
    """Conventions of a foreign optimizer that thalweg found out and that differ from a plain class's."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]

    closure: Literal[True, "with gradients"]
    create_graph: Literal[True]
    modes: Literal[False]


class ComponentRef(Frozen):
    """A component as a trial names it: options that equal their defaults are left out.

    An option that names a file has the digest of the file's content among ``options``, and where the file is among
    ``files``: the content is part of a trial's hash, the place is not.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    provider: str
    revision: int = 1
    digest: str | None = None
    files: dict[str, str] = Field(default_factory=dict)
    package: str = ""
    """The installed package of a foreign optimizer's class, with its version."""
    found: Found = Field(default_factory=Found)

    @property
    def settings(self) -> dict[str, Any]:
        """The options as the component wants them, files by their paths."""
        return self.options | self.files

    def canonical(self) -> dict[str, Any]:
        """What names the component: everything but where its files are."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"files"})


ClipNorm = Annotated[float, Field(gt=0, strict=True)]
"""The largest norm of a gradient over all parameters; a larger one is scaled down to it."""

WeightDecay = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
"""Coupled: a penalty of c/2 ||w||^2 in the loss. Decoupled: lr c w is taken off the weights beside the step."""


DecayOn = Literal["all", "matrices"]
"""The weights that decay: all, or those with two or more dimensions, which spares biases and the scales of norms."""


Precision = Literal["full", "tf32", "mixed-bfloat16"]
"""full: every product in the trial's dtype. tf32: factors of products on CUDA are rounded to 10 bits.

mixed-bfloat16: weights are float32, and training steps compute losses and gradients under torch's autocast to bfloat16;
evaluations and probes do not.
"""


class Stack(Frozen):
    """Says that a trial trains as one program with others; with ``rows``, with trials of other settings.

    The results of a trial do not depend on the other trials. Programs once had ``size`` places, and a trial's place
    entered its numbers by rounding errors. ``size`` and ``slot`` still enter the hash, so that results are found.
    """

    size: Annotated[int, Field(ge=2, strict=True)]
    slot: Annotated[int, Field(ge=0, strict=True)]
    """The place that seed 0 had."""
    rows: bool = False


class Trial(Frozen):
    """One deterministic training run. The fields are everything that changes its numbers, and nothing else."""

    problem: ComponentRef
    architecture: ComponentRef
    optimizer: ComponentRef
    budget: Budget
    batch_size: Count | Literal["full"] = "full"
    validation_fraction: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0
    evaluate_every: Interval = Interval(epochs=1)
    schedule: Schedule = Schedule()
    clip_norm: ClipNorm | None = None
    coupled_weight_decay: WeightDecay = 0.0
    decoupled_weight_decay: WeightDecay = 0.0
    weight_decay_on: DecayOn = "all"
    dtype: Literal["float32", "float64"] = "float32"
    precision: Precision = "full"
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    stack: Stack | None = None
    """None: alone."""
    seed: int

    def canonical(self) -> dict[str, Any]:
        """The trial with defaults left out, so that a field added later changes no old hash."""
        refs = {"problem": self.problem, "architecture": self.architecture, "optimizer": self.optimizer}
        document = self.model_dump(mode="json", exclude_defaults=True)
        return document | {kind: ref.canonical() for kind, ref in refs.items()}

    @cached_property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return _digest(_canonical_json(self.canonical()))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with other values where ``update`` has them; its hash is its own."""
        other = super().model_copy(update=update, deep=deep)
        other.__dict__.pop("hash", None)
        return other

    def at_seeds(self, seeds: Iterable[int]) -> list[Self]:
        """The trial at each of these seeds; what all of them have in common is hashed once."""
        canonical = self.canonical()
        before, after = (
            _canonical_json({key: value for key, value in canonical.items() if side(key, "seed")}) for side in (lt, gt)
        )
        after = "}" if after == "{}" else f",{after[1:]}"
        common = hashlib.sha256(f'{before[:-1]},"seed":'.encode())
        # made as pickle makes objects: to copy and check each of 100,000 trials would take a second
        state = self.__getstate__()
        fields = state.pop("__dict__")
        new, put, kind = self.__new__, object.__setattr__, type(self)
        trials = []
        for seed in seeds:
            whole = common.copy()
            whole.update(f"{seed}{after}".encode())
            trial = new(kind)
            put(trial, "__dict__", {**fields, "seed": seed, "hash": whole.hexdigest()[:12]})
            for name, value in state.items():
                put(trial, name, value)
            trials.append(trial)
        return trials


def _canonical_json(document: dict[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class ProbeRequest(Frozen):
    """A probe wanted on a trial: not part of the trial's hash."""

    label: str
    probe: ComponentRef
    other: str | None = None
    """For a pair of trials, the hash of the other one."""

    @property
    def key(self) -> str:
        """``<probe>--<hash8>``: the name of its table on disk."""
        named = self.probe.canonical() | ({"other": self.other} if self.other else {})
        text = json.dumps(named, sort_keys=True)
        return f"{self.probe.name}--{hashlib.sha256(text.encode()).hexdigest()[:8]}"


FoundBy = Mapping[tuple[str, str], Found]
"""What was found out about optimizers, by the name of the optimizer and of its plugin."""


def files_of(trials: Iterable[Trial]) -> dict[str, str]:
    """The user's files that trials were made from: path to digest, the last trial's where the content has changed."""
    refs = [ref for trial in trials for ref in (trial.problem, trial.architecture, trial.optimizer)]
    return {path: str(ref.options[name]) for ref in refs for name, path in ref.files.items()}
