"""The content of a benchmark file: what keys there are, and what is wrong with one that does not fit."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from thalweg.contracts.budget import Budget, Count, Frozen, Interval, Target
from thalweg.contracts.schedule import NamedSchedule
from thalweg.errors import UserError, unknown
from thalweg.shown import brief, cut, digits
from thalweg.trial import ClipNorm, DecayOn, Precision, WeightDecay

BatchSize = Count | Literal["full"]


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of workloads, optimizers, probes and files: they become parts of paths and of the command line."""
NAMING = "is not made of at most 100 letters, digits and the signs . _ -"


class WithOptions(BaseModel):
    """A table whose other keys are the options of a component."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are not fields of the table."""
        return dict(self.model_extra or {})


class ComponentSpec(WithOptions):
    """``"mlp"`` or ``{ name = "mlp", widths = [64, 64] }``."""

    name: str


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[ComponentSpec, BeforeValidator(_named)]


class Recipe(BaseModel):
    """How the rate changes and what happens to gradients and weights around a step, whatever the optimizer.

    Said for a workload, an optimizer or a pair of them; the more special one counts.
    """

    schedule: NamedSchedule | None = None
    clip_norm: ClipNorm | None = None
    """``inf``: not clipped, where something more general says otherwise."""
    coupled_weight_decay: WeightDecay | None = None
    decoupled_weight_decay: WeightDecay | None = None
    weight_decay_on: DecayOn | None = None

    @staticmethod
    def settle(*recipes: Recipe) -> dict[str, Any]:
        """Fields of a trial: of each the first that is said."""
        found: dict[str, Any] = {}
        for name in Recipe.model_fields:
            said = [value for value in (getattr(recipe, name) for recipe in recipes) if value is not None]
            if said and said[0] != math.inf:
                found[name] = said[0]
        if not found.get("coupled_weight_decay") and not found.get("decoupled_weight_decay"):
            found.pop("weight_decay_on", None)  # it changes nothing, so it is no part of the trial
        return found


class WorkloadSpec(Frozen, Recipe):
    """``[workloads.NAME]``."""

    problem: Named
    architecture: Named
    budget: Budget | None = None
    batch_size: BatchSize = "full"
    validation_fraction: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0
    evaluate_every: Interval = Interval(epochs=1)
    dtype: Literal["float32", "float64"] = "float32"
    precision: Precision = "full"
    target: Target | None = None
    metric: str | None = None


class OverrideSpec(WithOptions, Recipe):
    """``[overrides.WORKLOAD.OPTIMIZER]``: hyperparameters, recipe, batch size, budget, evaluation for one pair."""

    budget: Budget | None = None
    batch_size: BatchSize | None = None
    evaluate_every: Interval | None = None


class OptimizerSpec(WithOptions, Recipe):
    """``[optimizers.LABEL]``: the optimizer of that name, or another under this label; other keys: hyperparameters."""

    optimizer: str | None = None


class ProbeSpec(WithOptions):
    """``[probes.LABEL]``: on which trials the probe runs; other keys: its options. Everything when nothing is named."""

    probe: str | None = None
    workloads: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    optimizers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    seeds: tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = None


class TuningSpec(Frozen):
    """``[tuning]``: how settings are searched before the seeds that count are trained. See docs/tuning.md."""

    method: Literal["grid", "halton", "sobol", "random"] = "halton"
    budgets: Annotated[tuple[Count, ...], Field(min_length=1)] = (8,)
    """Settings tried for each optimizer on each workload; of several the largest counts, the others are its curve."""
    decades: Annotated[float, Field(gt=0, le=20)] = 3.0
    """Width of every search range, powers of ten."""
    extend: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Decades added at both ends, once and for all optimizers of a workload, where one has its best at an end."""
    seeds: Count = 1
    """Seeds for each setting; others than those that count."""
    hyperparameters: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """By optimizer what is searched; the learning rate where nothing is said."""

    @model_validator(mode="after")
    def _increasing(self) -> TuningSpec:
        if list(self.budgets) != sorted(set(self.budgets)):
            raise ValueError("budgets: give each once, the smallest first")
        if self.method == "grid" and len(self.budgets) > 1:
            raise ValueError("budgets: the points of a small grid are not among those of a larger one: give one budget")
        return self


Keep = Literal["weights", "trajectory"]
"""What is kept of every trial for probes to come: initial and final weights, or those of every evaluation too."""


TUNING_SEED = 1000
"""The first seed of tuning: none of those that count."""


SHARES = 1000
"""Of a schedule's ``at``, at most."""


def _check_sizes(key: str, value: Any) -> None:
    """ValueError where a count does not fit 64 bits: nothing that is counted comes near."""
    counts = [getattr(value, name, None) for name in ("epochs", "steps", "gradient_evaluations")]
    for count in (value, *counts):
        if isinstance(count, int) and count.bit_length() > 63:
            raise ValueError(f"{key}: a number of {digits(count):,} digits is too large")


class BenchmarkFile(Frozen):
    """The whole file."""

    title: str = ""
    summary: str = ""
    seeds: Count = 3
    workloads: Annotated[dict[str, WorkloadSpec], Field(min_length=1)]
    optimizers: Annotated[dict[str, OptimizerSpec], Field(min_length=1)]
    overrides: dict[str, dict[str, OverrideSpec]] = Field(default_factory=dict)
    probes: dict[str, ProbeSpec] = Field(default_factory=dict)
    tuning: TuningSpec | None = None
    keep: Keep | None = None
    """Without it initial and final weights of the trials that have probes are kept."""

    @model_validator(mode="after")
    def _names(self) -> BenchmarkFile:
        def check(key: str, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: {unknown(kind, name, known)}")

        for key, names in (("workloads", self.workloads), ("optimizers", self.optimizers), ("probes", self.probes)):
            for name in names:
                if not NAME.fullmatch(name):
                    raise ValueError(f"{key}: the name {brief(name)} {NAMING}")
        check("overrides", "workload", self.overrides, self.workloads)
        for workload, table in self.overrides.items():
            check(f"overrides.{workload}", "optimizer", table, self.optimizers)
        if self.tuning is not None:
            check("tuning.hyperparameters", "optimizer", self.tuning.hyperparameters, self.optimizers)
            if self.seeds > TUNING_SEED:
                raise ValueError(f"seeds: tuning takes those from {TUNING_SEED} up")
        specs: dict[str, WorkloadSpec | OptimizerSpec | OverrideSpec] = {
            **{f"workloads.{name}": table for name, table in self.workloads.items()},
            **{f"optimizers.{name}": table for name, table in self.optimizers.items()},
            **{f"overrides.{a}.{b}": table for a, tables in self.overrides.items() for b, table in tables.items()},
        }
        _check_sizes("seeds", self.seeds)
        for key, spec in specs.items():
            for name in ("budget", "evaluate_every", "batch_size"):
                _check_sizes(f"{key}.{name}", getattr(spec, name, None))
            shares = len(spec.schedule.at) if spec.schedule is not None else 0
            if shares > SHARES:
                raise ValueError(f"{key}.schedule.at: {shares:,} shares, and at most {SHARES:,} are read")
        if self.tuning is not None:
            for count in (*self.tuning.budgets, self.tuning.seeds):
                _check_sizes("tuning", count)
        for label, probe in self.probes.items():
            check(f"probes.{label}.workloads", "workload", probe.workloads or (), self.workloads)
            check(f"probes.{label}.optimizers", "optimizer", probe.optimizers or (), self.optimizers)
        return self


def parse(text: str, file: str) -> BenchmarkFile:
    """Check the text of a file; UserError names file, key, reason and the nearest valid choice."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what huge numbers or deep nesting raise
        # Python's limit on texts of whole numbers names a function of Python's
        long = "set_int_max_str_digits" in str(error)
        reason = "a number has more than 4,300 digits" if long else " ".join(str(error).split())
        raise UserError(f"{file}: is not valid TOML: {reason}") from error
    if not table:
        raise UserError(f"{file}: is empty; a benchmark needs [workloads.NAME] and [optimizers.NAME] tables")
    try:
        return BenchmarkFile.model_validate(table)
    except ValidationError as error:
        raise UserError(f"{file}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """The first mistake in a file, or in a part of it, as one line: key, reason, nearest valid key."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(cut(str(part)) for part in first["loc"] if part not in ("int", "constrained-int", "literal['full']"))
    match first["type"]:
        case "extra_forbidden":
            text = f"{key}: {unknown('key', str(first['loc'][-1]), _fields_at(first['loc'][:-1]))}"
        case "missing":
            text = f"{key}: is missing"
        case "value_error":
            text = f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
        case "too_short":
            text = f"{key}: has no entries"
        case _:
            says = first["msg"].replace("valid tuple", "list").replace("valid dictionary", "table")
            text = f"{key}: {says[0].lower()}{says[1:]}, got {brief(first['input'])}"
    # the two arms of a batch size report one mistake twice
    others = len({problem["loc"][:3] for problem in problems} - {first["loc"][:3]})
    return text + (f" (and {others} more {'mistake' if others == 1 else 'mistakes'})" if others else "")


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The fields of the model at a location of the file."""
    model: Any = BenchmarkFile
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            annotation: Any = model.model_fields[str(part)].annotation
        else:
            annotation = get_args(model)[1]
        arms = [arm for arm in get_args(annotation) if isinstance(arm, type) and issubclass(arm, BaseModel)]
        model = arms[0] if arms and not hasattr(annotation, "__origin__") else annotation
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
