"""The schema of a benchmark file, and the messages for files that do not fit it."""

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
"""Allowed names of workloads, optimizers, probes and files, which become parts of paths and of the command line."""
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
    """The name of the component. Other keys are its options."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[ComponentSpec, BeforeValidator(_named, json_schema_input_type=str | ComponentSpec)]


class Recipe(BaseModel):
    """The learning rate's schedule, clipping and weight decay, which work with any optimizer.

    A workload, an optimizer or a pair of both may set each field. The most specific setting counts.
    """

    schedule: NamedSchedule | None = None
    """The schedule of the learning rate, by name or with settings; constant by default."""
    clip_norm: ClipNorm | None = None
    """The largest norm of a gradient; ``inf`` switches clipping off that a more general setting switches on."""
    coupled_weight_decay: WeightDecay | None = None
    """c: a penalty of c/2 times the squared norm of the weights in the loss; 0 by default."""
    decoupled_weight_decay: WeightDecay | None = None
    """c: each step takes lr c w off the weights w, beside the update; 0 by default."""
    weight_decay_on: DecayOn | None = None
    """The weights that decay: all (the default), or only those with two or more dimensions."""

    @staticmethod
    def settle(*recipes: Recipe) -> dict[str, Any]:
        """The fields of a trial: for each field, the first recipe that sets it."""
        found: dict[str, Any] = {}
        for name in Recipe.model_fields:
            said = [value for value in (getattr(recipe, name) for recipe in recipes) if value is not None]
            if said and said[0] != math.inf:
                found[name] = said[0]
        if not found.get("coupled_weight_decay") and not found.get("decoupled_weight_decay"):
            found.pop("weight_decay_on", None)  # it changes nothing, so it is no part of the trial
        return found


class WorkloadSpec(Frozen, Recipe):
    """``[workloads.NAME]``: a problem with an architecture, and how it is trained."""

    problem: Named
    """The problem, by name or with options."""
    architecture: Named
    """The architecture, by name or with options."""
    budget: Budget | None = None
    """The length of the training; the problem's own by default."""
    batch_size: BatchSize = "full"
    """Examples in a batch; ``"full"`` is the whole training split."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0
    """The share of the training examples that is kept for validation."""
    evaluate_every: Interval = Interval(epochs=1)
    """How often the trial is evaluated."""
    dtype: Literal["float32", "float64"] = "float32"
    """The type of weights and data."""
    precision: Precision = "full"
    """The precision of products."""
    target: Target | None = None
    """The value to reach; the problem's own by default."""
    metric: str | None = None
    """The metric that ranks; the problem's first metric by default."""


class OverrideSpec(WithOptions, Recipe):
    """``[overrides.WORKLOAD.OPTIMIZER]``: hyperparameters, recipe, batch size, budget, evaluation for one pair."""

    budget: Budget | None = None
    """The length of the training; the workload's by default."""
    batch_size: BatchSize | None = None
    """Examples in a batch; the workload's by default."""
    evaluate_every: Interval | None = None
    """How often the trial is evaluated; as the workload says by default."""


class OptimizerSpec(WithOptions, Recipe):
    """``[optimizers.LABEL]``: an optimizer under a label, which is its name by default. Other keys: hyperparameters."""

    optimizer: str | None = None
    """The name of the optimizer; the label by default."""


class ProbeSpec(WithOptions):
    """``[probes.LABEL]``: the trials that a probe runs on, by default all. Other keys: the probe's options."""

    probe: str | None = None
    """The name of the probe; the label by default."""
    workloads: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The workloads to measure; all by default."""
    optimizers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The optimizers to measure; all by default."""
    seeds: tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = None
    """The seeds to measure; all by default."""


class TuningSpec(Frozen):
    """``[tuning]``: how settings are searched before the final seeds are trained. See docs/tuning.md."""

    method: Literal["grid", "halton", "sobol", "random"] = "halton"
    """The points of the search."""
    budgets: Annotated[tuple[Count, ...], Field(min_length=1)] = (8,)
    """Numbers of settings to try for each optimizer on each workload. The largest decides; the others give a curve."""
    decades: Annotated[float, Field(gt=0, le=20)] = 3.0
    """Width of every search range, in powers of ten."""
    extend: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Decades added once beyond an end of an optimizer's range on a workload, if its best setting is at that end."""
    seeds: Count = 1
    """Number of seeds for each setting. These are not the final seeds."""
    stop_hopeless: bool = False
    """Whether a setting gets no further seeds if its first seed diverges, fails or is never better than its start."""
    hyperparameters: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """The hyperparameters that are searched, by optimizer; the learning rate by default."""

    @model_validator(mode="after")
    def _increasing(self) -> TuningSpec:
        if list(self.budgets) != sorted(set(self.budgets)):
            raise ValueError("budgets: give each once, the smallest first")
        if self.method == "grid" and len(self.budgets) > 1:
            raise ValueError("budgets: the points of a small grid are not among those of a larger one: give one budget")
        return self


class TrackSpec(Frozen):
    """``[track]``: a workload whose score is the steps to its target. See docs/tracks.md."""

    workload: str
    """The workload whose target counts, on the validation split."""
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
    """The least (target - mean) n^(1/2) of an entry's n runs, and the least difference between two entries."""


class ImportedMetric(Frozen):
    """A metric of imported curves."""

    better: Literal["higher", "lower"]
    """Which direction is better."""
    scale: Literal["linear", "log"] = "linear"
    """The scale of means, intervals and axes."""
    unit: str = ""
    """``"%"`` for shares of one."""


class ImportedChoice(Frozen):
    """``[imported.workloads.NAME.choice.OPTIMIZER]``: the variance that the choice of a setting adds to a mean."""

    linear: Annotated[float, Field(ge=0)] = 0.0
    """Of the values."""
    log: Annotated[float, Field(ge=0)] = 0.0
    """Of their logarithms."""


class ImportedWorkload(Frozen):
    """``[imported.workloads.NAME]``: what the curves of a workload hold."""

    metric: str
    """The metric that ranks."""
    metrics: Annotated[dict[str, ImportedMetric], Field(min_length=1)]
    """All metrics."""
    split: Literal["train", "valid", "test"]
    """The split at which the metric that ranks is read, at the end of the curve."""
    target: float | None = None
    """A value of the metric to reach."""
    valid: bool = False
    """Whether there is a validation split."""
    known: tuple[str, ...] = ()
    """The costs of each evaluation that the source tells, such as ``seconds``."""
    selected: bool = False
    """Whether the test metric is read at the step at which validation is best."""
    choice: dict[str, ImportedChoice] = Field(default_factory=dict)
    """What tuning adds to the variance of an optimizer's mean, as an export says it."""

    @model_validator(mode="after")
    def _names(self) -> ImportedWorkload:
        if self.metric not in self.metrics:
            raise ValueError(f"metric: {unknown('metric', self.metric, self.metrics)}")
        return self


class ImportedSpec(Frozen):
    """``[imported]``: the runs were imported from another tool, and cannot be trained here."""

    format: str
    """The reader."""
    paired: bool = False
    """Whether equal seeds of two optimizers had the same start and the same data."""
    workloads: Annotated[dict[str, ImportedWorkload], Field(min_length=1)]
    """``[imported.workloads.NAME]`` tables."""


Keep = Literal["weights", "trajectory"]
"""The weights that are kept of every trial for later probes: first and last, or those of every evaluation too."""


TUNING_SEED = 1000
"""The first seed of tuning. Final seeds are smaller."""


SHARES = 1000
"""The largest number of entries in a schedule's ``at``."""


def _check_sizes(key: str, value: Any) -> None:
    """ValueError where a count does not fit 64 bits."""
    counts = [getattr(value, name, None) for name in ("epochs", "steps", "gradient_evaluations", "work")]
    for count in (value, *counts):
        if isinstance(count, int) and count.bit_length() > 63:
            raise ValueError(f"{key}: a number of {digits(count):,} digits is too large")


class BenchmarkFile(Frozen):
    """A grid of workloads and optimizers, and the probes that measure them."""

    title: str = ""
    """The title for pages and reports."""
    summary: str = ""
    """One line for lists."""
    seeds: Count = 3
    """The number of seeds, from 0 up."""
    workloads: Annotated[dict[str, WorkloadSpec], Field(min_length=1)]
    """``[workloads.NAME]`` tables."""
    optimizers: Annotated[dict[str, OptimizerSpec], Field(min_length=1)]
    """``[optimizers.LABEL]`` tables."""
    overrides: dict[str, dict[str, OverrideSpec]] = Field(default_factory=dict)
    """``[overrides.WORKLOAD.OPTIMIZER]`` tables."""
    probes: dict[str, ProbeSpec] = Field(default_factory=dict)
    """``[probes.LABEL]`` tables."""
    tuning: TuningSpec | None = None
    """The ``[tuning]`` table; without it, nothing is tuned."""
    ladders: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """``[ladders]``: by task its workloads, the easiest first. The highest workload that is passed is the score."""
    track: TrackSpec | None = None
    """The ``[track]`` table."""
    imported: ImportedSpec | None = None
    """The ``[imported]`` table, which ``thalweg results import-curves`` writes."""
    keep: Keep | None = None
    """The weights to keep of every trial; by default only trials with probes keep theirs, the first and the last."""

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
        if self.track is not None:
            check("track.workload", "workload", [self.track.workload], self.workloads)
        for task, steps in self.ladders.items():
            check(f"ladders.{task}", "workload", steps, self.workloads)
            if len(set(steps)) < len(steps):
                raise ValueError(f"ladders.{task}: give each workload once")
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
