"""A benchmark: one TOML file that declares a grid of trials and probes, read, checked and expanded."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from thalweg.contracts import Component, Metric, Option
from thalweg.contracts.option import resolve, without_defaults
from thalweg.errors import UserError, unknown
from thalweg.registry import Entry, Registry
from thalweg.trial import Budget, ComponentRef, Count, Frozen, Interval, ProbeRequest, Trial

BatchSize = Count | Literal["full"]
Selectable = Literal["optimizer", "workload", "seed"]


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


class Target(Frozen):
    """A value of a metric to reach, on the validation split where there is one, else on the training split."""

    metric: str
    value: Annotated[float, Field(allow_inf_nan=False)]


class WorkloadSpec(Frozen):
    """``[workloads.NAME]``."""

    problem: Named
    architecture: Named
    budget: Budget
    batch_size: BatchSize = "full"
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    evaluate_every: Interval = Interval(epochs=1)
    dtype: Literal["float32", "float64"] = "float32"
    target: Target | None = None
    metric: str | None = None


class OverrideSpec(WithOptions):
    """``[overrides.WORKLOAD.OPTIMIZER]``: hyperparameters, batch size, budget and evaluation for one pair."""

    budget: Budget | None = None
    batch_size: BatchSize | None = None
    evaluate_every: Interval | None = None


class OptimizerSpec(WithOptions):
    """``[optimizers.LABEL]``: the optimizer of that name, or another under this label; other keys: hyperparameters."""

    optimizer: str | None = None


class ProbeSpec(WithOptions):
    """``[probes.LABEL]``: on which trials the probe runs; other keys: its options. Everything when nothing is named."""

    probe: str | None = None
    workloads: tuple[str, ...] | None = None
    optimizers: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None


class BenchmarkFile(Frozen):
    """The whole file."""

    title: str = ""
    summary: str = ""
    seeds: Count = 3
    workloads: Annotated[dict[str, WorkloadSpec], Field(min_length=1)]
    optimizers: Annotated[dict[str, OptimizerSpec], Field(min_length=1)]
    overrides: dict[str, dict[str, OverrideSpec]] = Field(default_factory=dict)
    probes: dict[str, ProbeSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names(self) -> BenchmarkFile:
        def check(key: str, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: {unknown(kind, name, known)}")

        check("overrides", "workload", self.overrides, self.workloads)
        for workload, table in self.overrides.items():
            check(f"overrides.{workload}", "optimizer", table, self.optimizers)
        for label, probe in self.probes.items():
            check(f"probes.{label}.workloads", "workload", probe.workloads or (), self.workloads)
            check(f"probes.{label}.optimizers", "optimizer", probe.optimizers or (), self.optimizers)
        return self


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


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with the names under which its benchmark knows it, and the probes wanted on it."""

    workload: str
    optimizer: str
    trial: Trial
    probes: tuple[ProbeRequest, ...] = ()

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


@dataclass
class Selection:
    """What the command line adds and filters: ``--with`` adds to the grid, ``--only`` filters what results."""

    seeds: int | None = None
    extra: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass
class Benchmark:
    """A checked benchmark file."""

    name: str
    path: Path
    text: str
    spec: BenchmarkFile
    _refs: dict[tuple[str, str], ComponentRef] = field(default_factory=dict, repr=False)

    def expand(self, registry: Registry, selection: Selection | None = None) -> Plan:
        """The trials, in order of workload, optimizer and seed. UserError names file, key and the nearest choice."""
        selection = selection or Selection()
        optimizers = dict(self.spec.optimizers)
        for text in selection.extra:
            label, spec = _parse_extra(text)
            if label in optimizers:
                raise UserError(f"--with optimizer={label}: {self.name} has an optimizer of that name already")
            optimizers[label] = spec
        only = _parse_only(selection.only, optimizers, self.spec.workloads)
        seeds = range(selection.seeds or self.spec.seeds)
        workloads: dict[str, Workload] = {}
        trials: list[PlannedTrial] = []
        for workload_name, workload in self.spec.workloads.items():
            workloads[workload_name] = self._workload(registry, workload_name, workload)
            for label, optimizer in optimizers.items():
                base = self._trial(registry, workload_name, workload, label, optimizer, selection.device)
                for seed in seeds:
                    if all(str(value) in only.get(key, (str(value),)) for key, value in
                           (("workload", workload_name), ("optimizer", label), ("seed", seed))):  # fmt: skip
                        trial = base.model_copy(update={"seed": seed})
                        probes = self._probes(registry, workload_name, label, seed)
                        trials.append(PlannedTrial(workload_name, label, trial, probes))
        if not trials:
            raise UserError(f"{self.name}: nothing is left of the benchmark after {' '.join(selection.only)}")
        return Plan(self.name, workloads, trials)

    def _where(self, key: str) -> str:
        return f"{self.path.name}: {key}"

    def _workload(self, registry: Registry, name: str, spec: WorkloadSpec) -> Workload:
        where = self._where(f"workloads.{name}")
        problem = registry.problem(spec.problem.name, f"{where}.problem")
        architecture = registry.architecture(spec.architecture.name, f"{where}.architecture")
        options = resolve(problem.options, spec.problem.options, f"{where}.problem")
        shape = problem.shape(options)
        reason = architecture.misfit(
            resolve(architecture.options, spec.architecture.options, f"{where}.architecture"), shape
        )
        if reason:
            raise UserError(f"{where}: architecture {architecture.name!r} does not fit {problem.name!r}: {reason}")
        metrics = {metric.name: metric for metric in problem.metrics}

        def metric(metric_name: str, key: str) -> Metric:
            if metric_name not in metrics:
                raise UserError(f"{where}.{key}: {unknown('metric', metric_name, metrics)}")
            return metrics[metric_name]

        if spec.validation_fraction and "valid" not in problem.splits:
            raise UserError(f"{where}.validation_fraction: {problem.name!r} has no examples to keep for validation")
        return Workload(
            name,
            problem.metrics,
            metric=metric(spec.metric or problem.metrics[0].name, "metric"),
            split="test" if "test" in problem.splits else "train",
            target=spec.target,
            target_split="valid" if spec.validation_fraction else "train",
            target_metric=metric(spec.target.metric, "target.metric") if spec.target else None,
        )

    def _trial(
        self,
        registry: Registry,
        workload_name: str,
        workload: WorkloadSpec,
        label: str,
        spec: OptimizerSpec,
        device: str,
    ) -> Trial:
        override = self.spec.overrides.get(workload_name, {}).get(label, OverrideSpec())
        name = spec.optimizer or label
        where = self._where(f"optimizers.{label}")
        entry = registry.entry("optimizers", name, where)
        _check_keys(entry.component.options, spec, where)
        _check_keys(entry.component.options, override, self._where(f"overrides.{workload_name}.{label}"))
        resolve(entry.component.options, spec.options, where)
        hyperparameters = spec.options | override.options
        return Trial(
            problem=_ref(registry.entry("problems", workload.problem.name), workload.problem.options, where),
            architecture=_ref(
                registry.entry("architectures", workload.architecture.name), workload.architecture.options, where
            ),
            optimizer=_ref(entry, hyperparameters, self._where(f"overrides.{workload_name}.{label}")),
            budget=override.budget or workload.budget,
            batch_size=override.batch_size or workload.batch_size,
            validation_fraction=workload.validation_fraction,
            evaluate_every=override.evaluate_every or workload.evaluate_every,
            dtype=workload.dtype,
            device="cuda" if device == "cuda" else "cpu",
            seed=0,
        )

    def _probes(self, registry: Registry, workload: str, optimizer: str, seed: int) -> tuple[ProbeRequest, ...]:
        requests = []
        for label, spec in self.spec.probes.items():
            name = spec.probe or label
            where = self._where(f"probes.{label}")
            entry = registry.entry("probes", name, where)
            _check_keys(entry.component.options, spec, where)
            wanted = (
                workload in (spec.workloads or (workload,))
                and optimizer in (spec.optimizers or (optimizer,))
                and seed in (spec.seeds if spec.seeds is not None else (seed,))
            )
            if wanted:
                requests.append(ProbeRequest(label=label, probe=_ref(entry, spec.options, where)))
        return tuple(requests)


def _ref(entry: Entry, given: Mapping[str, Any], where: str) -> ComponentRef:
    component: Component = entry.component
    options = without_defaults(component.options, resolve(component.options, given, where))
    return ComponentRef(
        name=entry.name,
        options=options,
        provider=entry.plugin.name,
        revision=component.revision,
        digest=entry.plugin.digest,
    )


def _check_keys(options: Iterable[Option], spec: WithOptions, where: str) -> None:
    """A misspelt key of a table with free options may have meant one of the table's own keys."""
    choices = {option.name for option in options} | set(type(spec).model_fields)
    for key in spec.options:
        if key not in choices:
            raise UserError(f"{where}: {unknown('key', key, choices)}")


def _parse_extra(text: str) -> tuple[str, OptimizerSpec]:
    kind, separator, rest = text.partition("=")
    name, _, settings = rest.partition(":")
    if kind != "optimizer" or not separator or not name:
        raise UserError(f"--with {text}: give optimizer=NAME or optimizer=NAME:key=value,key=value")
    options: dict[str, Any] = {}
    for setting in filter(None, settings.split(",")):
        key, separator, value = setting.partition("=")
        if not separator:
            raise UserError(f"--with {text}: {setting!r} is not key=value")
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = value.strip()
    for key in options:
        if key in OptimizerSpec.model_fields:
            raise UserError(f"--with {text}: {key!r} is no hyperparameter")
    return rest, OptimizerSpec(optimizer=name, **options)


def _parse_only(
    texts: Iterable[str], optimizers: Iterable[str], workloads: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    known = {"optimizer": list(optimizers), "workload": list(workloads), "seed": None}
    only: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or key not in known:
            raise UserError(f"--only {text}: give optimizer=NAME,NAME or workload=NAME,NAME or seed=N,N")
        # a label made by --with holds commas of its own, so the whole text may be one name
        names = (value,) if value in (known[key] or ()) else tuple(part.strip() for part in value.split(","))
        for name in names:
            choices = known[key]
            if choices is not None and name not in choices:
                raise UserError(f"--only {text}: {unknown(key, name, choices)}")
        only[key] = only.get(key, ()) + names
    return only


def load_benchmark(name: str, registry: Registry) -> Benchmark:
    """A registered benchmark by name, or any file by its path (ending in ``.toml``)."""
    path = Path(name) if name.endswith(".toml") else registry.benchmark(name)
    return read_benchmark(path)


def read_benchmark(path: Path, name: str | None = None) -> Benchmark:
    """Read and check a file; UserError names file, key, reason and the nearest valid choice."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"{path}: cannot be read: {reason}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path.name}: is not valid TOML: {error}") from error
    if not table:
        raise UserError(f"{path.name}: is empty; a benchmark needs [workloads.NAME] and [optimizers.NAME] tables")
    try:
        spec = BenchmarkFile.model_validate(table)
    except ValidationError as error:
        raise UserError(f"{path.name}: {_explain(error)}") from error
    return Benchmark(name or path.stem, path, text, spec)


def _explain(error: ValidationError) -> str:
    """The first mistake as one line: key, reason, nearest valid key."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"] if part not in ("int", "constrained-int", "literal['full']"))
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
            text = f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
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
