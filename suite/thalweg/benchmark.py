"""A benchmark: a file that declares a grid of trials and probes, expanded against what is registered."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from thalweg import guard
from thalweg.benchmark_file import (
    NAME,
    NAMING,
    BenchmarkFile,
    Keep,
    OptimizerSpec,
    OverrideSpec,
    Recipe,
    WithOptions,
    WorkloadSpec,
    parse,
)
from thalweg.contracts import Component, Metric, Option, Probe, Problem, Shape
from thalweg.contracts.budget import Target
from thalweg.contracts.option import resolve, without_defaults
from thalweg.contracts.problem import held_out
from thalweg.data.digest import sha256
from thalweg.errors import UserError, unknown
from thalweg.failure import Failure
from thalweg.limits import BYTES, PAIRS, POINTS, TRIALS
from thalweg.registry import Entry, Registry
from thalweg.selection import Device, Only, Selection, is_wanted, parse_extra, parse_only, seeds_wanted
from thalweg.shown import brief, cut
from thalweg.stacking import seeds_stack
from thalweg.trial import ComponentRef, ProbeRequest, Trial


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for garbage in between: of thousands of new objects that all stay there is none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
    axis: str = "epoch"
    """The column of a curve that counts what is spent of the budget."""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial with the names under which its benchmark knows it, and the probes wanted on it."""

    workload: str
    optimizer: str
    trial: Trial
    probes: tuple[ProbeRequest, ...] = ()
    keep: Keep | None = None

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
    """Those that count."""
    tuning: list[PlannedTrial] = field(default_factory=list)
    """Those that find out with which settings."""


Settings = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""By workload and optimizer hyperparameters, some of them."""


@dataclass
class Benchmark:
    """A checked benchmark file."""

    name: str
    path: Path
    text: str
    spec: BenchmarkFile
    files: Mapping[str, str] | None = None
    """Given where results are only read: the files that they were made from, path to digest (see ``files_of``). One
    that is not where the benchmark says is then looked up here, and no mistake."""

    @_uncollected()
    def expand(self, registry: Registry, selection: Selection | None = None, settings: Settings | None = None) -> Plan:
        """The trials, in order of workload, optimizer and seed. UserError names file, key and the nearest choice.

        Args:
            registry: where the components are.
            selection: what the command line says.
            settings: by workload and optimizer the hyperparameters that go before those of the file, several trials a
                seed where there are several; pairs without any are left out.
        """
        selection = selection or Selection()
        optimizers = self.optimizers(selection)
        added = {label: spec.optimizer or label for label, spec in map(parse_extra, selection.extra)}
        only = parse_only(selection.only, optimizers, self.spec.workloads, added)
        count = selection.seeds or self.spec.seeds
        seeds = seeds_wanted(only, count)
        self._check_count(only, optimizers, len(seeds) if "seed" in only else count, settings)
        workloads: dict[str, Workload] = {}
        trials: list[PlannedTrial] = []
        for workload_name, workload in self.spec.workloads.items():
            shape = self._check_fit(registry, workload_name, workload)
            workloads[workload_name] = self._workload(registry, workload_name, workload)
            for label, optimizer in optimizers.items():
                chosen = [{}] if settings is None else settings.get((workload_name, label), [])
                bases = [
                    self._trial(registry, workload_name, workload, label, optimizer, selection.device, one)
                    for one in chosen
                ]
                wanted = seeds if is_wanted(only, workload_name, label) else ()
                if not wanted or not bases:
                    continue
                if shape is not None:
                    self._check_optimizer(registry, bases[0], f"{workload_name}.{label}", shape)
                keep = selection.keep or self.spec.keep
                requests = self._probes(registry, workload_name, label)
                kept = all(registry.probe(request.probe.name).weights_suffice for _, request in requests)
                if kept and self.spec.seeds > 1:
                    place = {"stack": seeds_stack()}
                    candidates = [base.model_copy(update=place) for base in bases]
                    title = f"{workload_name} · {label}"
                    bases = [
                        candidate if selection.stacks(candidate, title, wanted) else base
                        for candidate, base in zip(candidates, bases, strict=True)
                    ]
                for trial in (trial for base in bases for trial in base.at_seeds(wanted)):
                    probes = tuple([request for at, request in requests if at is None or trial.seed in at])
                    trials.append(PlannedTrial(workload_name, label, trial, probes, keep))
        if not trials and settings is None:
            raise UserError(f"{self.name}: nothing is left of the benchmark after {cut(' '.join(selection.only))}")
        return Plan(self.name, workloads, trials)

    def _check_count(
        self, only: Only, optimizers: Mapping[str, OptimizerSpec], seeds: int, settings: Settings | None
    ) -> None:
        """TooMuch where the grid has more pairs or trials than the limit; counted, and not expanded."""
        workloads = self.spec.workloads
        grid = f"{self.path.name}: {len(workloads):,} workloads x {len(optimizers):,} optimizers"
        PAIRS.check(len(workloads) * len(optimizers), grid)
        if settings is not None:
            TRIALS.check(seeds * sum(map(len, settings.values())), f"{self.path.name}: settings x {seeds:,} seeds")
            return
        wanted = [
            sum(name in only.get(key, names) for name in names)
            for key, names in (("workload", workloads), ("optimizer", optimizers))
        ]
        TRIALS.check(
            wanted[0] * wanted[1] * seeds,
            f"{self.path.name}: {wanted[0]:,} workloads x {wanted[1]:,} optimizers x {seeds:,} seeds",
        )

    def optimizers(self, selection: Selection) -> dict[str, OptimizerSpec]:
        """Those of the file, and those that the command line adds."""
        optimizers = dict(self.spec.optimizers)
        for text in selection.extra:
            label, spec = parse_extra(text)
            if label in optimizers:
                raise UserError(f"--with optimizer={label}: {self.name} has an optimizer of that name already")
            optimizers[label] = spec
        return optimizers

    def given(self, workload: str, label: str, spec: OptimizerSpec) -> dict[str, Any]:
        """The hyperparameters that the file names for an optimizer on a workload."""
        override = self.spec.overrides.get(workload, {}).get(label, OverrideSpec())
        return spec.options | override.options

    def _where(self, key: str) -> str:
        return f"{self.path.name}: {cut(key, 200)}"

    def _check_fit(self, registry: Registry, name: str, spec: WorkloadSpec) -> Shape | None:
        """The problem's shape; UserError where problem, architecture and validation share do not go together.

        None where results are read: then the data need not be looked at, nor be there any more.
        """
        where = self._where(f"workloads.{name}")
        problem = registry.problem(spec.problem.name, f"{where}.problem")
        architecture = registry.architecture(spec.architecture.name, f"{where}.architecture")
        if self.files is not None:
            return None
        options = self._problem_options(problem, spec, where)
        key = f"{where}.problem: {problem.name!r}"
        try:
            shape, sizes, memory = problem.shape(options), problem.sizes(options), problem.memory(options)
        except UserError as error:
            raise UserError(f"{key}: {error}") from error
        except Exception as error:  # a plugin's mistake
            raise UserError(f"{key}: {Failure.of(error).line}") from error
        BYTES.check(memory, key)
        settings = self._located(architecture, spec.architecture.options, f"{where}.architecture")
        reason = architecture.misfit(resolve(architecture.options, settings, f"{where}.architecture"), shape)
        if reason:
            raise UserError(f"{where}: architecture {architecture.name!r} does not fit {problem.name!r}: {reason}")
        n = sizes.get("train")
        if n is not None and n - held_out(n, spec.validation_fraction) < 1:
            share = f"validation_fraction = {spec.validation_fraction:g}"
            raise UserError(f"{where}: {share} of {n} training examples leaves none to train on")
        return shape

    def _problem_options(self, problem: Problem, spec: WorkloadSpec, where: str) -> dict[str, Any]:
        located = self._located(problem, spec.problem.options, f"{where}.problem")
        return resolve(problem.options, located, f"{where}.problem")

    def _check_optimizer(self, registry: Registry, trial: Trial, pair: str, shape: Shape) -> None:
        """UserError where an optimizer cannot train such a problem, not with this recipe, or not on the device."""
        if trial.device == "mps" and trial.dtype == "float64":
            hint = "--only workload=... leaves workloads out"
            raise UserError(f"{self.path.name}: {pair}: 'mps' has no float64, which its dtype is; {hint}")
        optimizer = registry.optimizer(trial.optimizer.name)
        where = f"{self.path.name}: {pair}: optimizer {optimizer.name!r}"
        try:
            reason = optimizer.misfit(resolve(optimizer.options, trial.optimizer.settings, where), shape)
        except Exception as error:  # a plugin's mistake
            raise UserError(f"{where}: its misfit() failed: {Failure.of(error).line}") from error
        if reason:
            hint = "; --only workload=... or --only optimizer=... leaves pairs out"
            raise UserError(f"{where} does not fit {trial.problem.name!r}: {reason}{hint}")
        if not optimizer.has_lr and not trial.schedule.is_constant:
            raise UserError(
                f"{where} has no learning rate that follows a schedule: schedule = 'constant' leaves it alone"
            )
        if not optimizer.has_lr and trial.decoupled_weight_decay:
            what = (
                "has no learning rate, which decoupled decay is scaled by: decoupled_weight_decay = 0.0 leaves it out"
            )
            raise UserError(f"{where} {what}")
        if trial.clip_norm is not None and not optimizer.takes_any_gradient:
            raise UserError(f"{where} needs its gradients as they are: clip_norm = inf leaves them so")
        if trial.decoupled_weight_decay and not optimizer.takes_decoupled_decay:
            what = "keeps its weights to itself: decoupled_weight_decay = 0.0 leaves them alone"
            raise UserError(f"{where} {what}, and its own hyperparameters may have a decay")

    def _located(self, component: Component, options: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The options given, files by their absolute paths: they are named relative to the benchmark file."""
        given = dict(options)
        for option in component.options:
            value = given.get(option.name)
            if option.kind == "file" and isinstance(value, str) and value:
                path = (self.path.parent / os.path.expanduser(value)).absolute()  # noqa: PTH111 - no error for no user
                there = os.path.isfile(path)  # noqa: PTH113 - false, not an error, where it cannot be looked at
                place = str(path) if there else self._earlier(path, Path(value))
                if place is None:
                    raise UserError(f"{where}: {option.name} = {brief(value)}: there is no file {cut(str(path), 300)}")
                given[option.name] = place
        return given

    def _earlier(self, path: Path, named: Path) -> str | None:
        """Where results that are read had that file: at that path, or at one that ends as the benchmark names it."""
        files = self.files or {}
        if str(path) in files:
            return str(path)
        parts = [part for part in named.parts if part != ".."]
        fits = [place for place in files if list(Path(place).parts[-len(parts) :]) == parts]
        # of several none is better than another, and a guess would show the results of other data
        return fits[0] if len(fits) == 1 else None

    def _ref(self, entry: Entry, given: Mapping[str, Any], where: str) -> ComponentRef:
        return component_ref(entry, self._located(entry.component, given, where), where, self._digest)

    def _digest(self, path: str) -> str:
        """Of the content; of what results were made from where that is not there any more."""
        there = os.path.isfile(path)  # noqa: PTH113 - false, not an error, where it cannot be looked at
        return (self.files or {}).get(path, "") if not there else f"sha256:{sha256(Path(path))}"

    def _workload(self, registry: Registry, name: str, spec: WorkloadSpec) -> Workload:
        where = self._where(f"workloads.{name}")
        problem = registry.problem(spec.problem.name, f"{where}.problem")
        options = self._problem_options(problem, spec, where)
        metrics = {metric.name: metric for metric in problem.metrics}

        def metric(metric_name: str, key: str) -> Metric:
            if metric_name not in metrics:
                raise UserError(f"{where}.{key}: {unknown('metric', metric_name, metrics)}")
            return metrics[metric_name]

        if spec.validation_fraction and "valid" not in problem.splits:
            raise UserError(f"{where}.validation_fraction: {problem.name!r} has no examples to keep for validation")
        target = spec.target
        if target is None and (spec.validation_fraction or "valid" not in problem.splits):
            # a problem's own target was measured on validation, with its options as they are
            target = None if without_defaults(problem.options, options) else problem.target
        return Workload(
            name,
            problem.metrics,
            metric=metric(spec.metric or problem.metrics[0].name, "metric"),
            split="test" if "test" in problem.splits else "train",
            target=target,
            target_split="valid" if spec.validation_fraction else "train",
            target_metric=metric(target.metric, "target.metric") if target else None,
            axis=budget.axis[0] if (budget := spec.budget or problem.budget) else "epoch",
        )

    def _trial(
        self,
        registry: Registry,
        workload_name: str,
        workload: WorkloadSpec,
        label: str,
        spec: OptimizerSpec,
        device: Device,
        setting: Mapping[str, Any],
    ) -> Trial:
        override = self.spec.overrides.get(workload_name, {}).get(label, OverrideSpec())
        name = spec.optimizer or label
        where = self._where(f"optimizers.{label}")
        entry = registry.entry("optimizers", name, where)
        _check_keys(entry.component.options, spec, where)
        _check_keys(entry.component.options, override, self._where(f"overrides.{workload_name}.{label}"))
        resolve(entry.component.options, spec.options, where)
        hyperparameters = spec.options | override.options | dict(setting)
        problem = registry.entry("problems", workload.problem.name)
        architecture = registry.entry("architectures", workload.architecture.name)
        budget = override.budget or workload.budget or registry.problem(workload.problem.name).budget
        if budget is None:
            key = f"workloads.{workload_name}.budget"
            raise UserError(f"{self._where(key)}: is missing, and the problem {problem.name!r} declares none")
        at = self._where(f"workloads.{workload_name}")
        if workload.precision != "full" and workload.dtype != "float32":
            raise UserError(f"{at}.precision: {workload.precision!r} is one of float32, not of {workload.dtype!r}")
        tuned = self._where(f"overrides.{workload_name}.{label}")
        recipe = Recipe.settle(override, spec, workload)
        spares = override.weight_decay_on or spec.weight_decay_on
        if "weight_decay_on" not in recipe and (
            spares or (workload.weight_decay_on and hyperparameters.get("weight_decay"))
        ):
            what = "is of coupled_weight_decay and decoupled_weight_decay, and neither is given"
            raise UserError(f"{where}: weight_decay_on {what}; an optimizer's own weight_decay takes no notice of it")
        return Trial(
            problem=self._ref(problem, workload.problem.options, f"{at}.problem"),
            architecture=self._ref(architecture, workload.architecture.options, f"{at}.architecture"),
            optimizer=self._ref(entry, hyperparameters, tuned),
            budget=budget,
            batch_size=override.batch_size or workload.batch_size,
            validation_fraction=workload.validation_fraction,
            evaluate_every=override.evaluate_every or workload.evaluate_every,
            **recipe,
            dtype=workload.dtype,
            # what a device does not have changes no number on it
            precision="full" if workload.precision == "tf32" and device != "cuda" else workload.precision,
            device=device,
            seed=0,
        )

    def _probes(
        self, registry: Registry, workload: str, optimizer: str
    ) -> list[tuple[Sequence[int] | None, ProbeRequest]]:
        """Those wanted on a pair, each with its seeds (None: all)."""
        requests: list[tuple[Sequence[int] | None, ProbeRequest]] = []
        for label, spec in self.spec.probes.items():
            name = spec.probe or label
            where = self._where(f"probes.{label}")
            entry = registry.entry("probes", name, where)
            _check_keys(entry.component.options, spec, where)
            probe = registry.probe(name)
            if set(probe.when) == {"pair"}:
                raise UserError(f"{where}: probe {name!r} compares two trials: see 'thalweg probe --other'")
            ref = self._ref(entry, spec.options, where)
            check_probe(probe, ref, where)
            if workload in (spec.workloads or (workload,)) and optimizer in (spec.optimizers or (optimizer,)):
                requests.append((spec.seeds, ProbeRequest(label=label, probe=ref)))
        return requests


def component_ref(entry: Entry, located: Mapping[str, Any], where: str, digest: Callable[[str], str]) -> ComponentRef:
    """A component as a trial names it, its options checked.

    Args:
        entry: the component.
        located: the options that were given, files by their absolute paths.
        where: what to name in an error.
        digest: of the file at a path.
    """
    component: Component = entry.component
    options = without_defaults(component.options, resolve(component.options, located, where))
    files = {option.name: options[option.name] for option in component.options if _names_file(option, options)}
    return ComponentRef(
        name=entry.name,
        options=options | {name: digest(path) for name, path in files.items()},
        provider=entry.plugin.name,
        revision=component.revision,
        digest=entry.plugin.digest,
        files=files,
    )


def check_probe(probe: Probe, ref: ComponentRef, where: str) -> None:
    """UserError where a probe cannot run with these settings."""
    options = resolve(probe.options, ref.settings, where)
    reason = probe.misfit(options)
    if reason:
        raise UserError(f"{where}: {reason}")
    POINTS.check(probe.points(options), f"{where}: probe {probe.name!r}")


def files_of(trials: Iterable[Trial]) -> dict[str, str]:
    """The user's files that trials were made from: path to digest, the last trial's where the content has changed."""
    refs = [ref for trial in trials for ref in (trial.problem, trial.architecture, trial.optimizer)]
    return {path: str(ref.options[name]) for ref in refs for name, path in ref.files.items()}


def _names_file(option: Option, options: Mapping[str, Any]) -> bool:
    return option.kind == "file" and option.name in options


def _check_keys(options: Iterable[Option], spec: WithOptions, where: str) -> None:
    """A misspelt key of a table with free options may have meant one of the table's own keys."""
    choices = {option.name for option in options} | set(type(spec).model_fields)
    for key in spec.options:
        if key not in choices:
            raise UserError(f"{where}: {unknown('key', key, choices)}")


def load_benchmark(name: str, registry: Registry) -> Benchmark:
    """A registered benchmark by name, or any file by its path (ending in ``.toml``)."""
    path = Path(name) if name.endswith(".toml") else registry.benchmark(name)
    return read_benchmark(path)


def _text(path: Path, limit: int = guard.TEXT) -> str:
    """A benchmark's text; of a file that is larger than a benchmark no more is read than shows it.

    Raises:
        OSError: it cannot be read, or is no regular file.
        UnicodeDecodeError: it is no text.
    """
    return guard.read_text(path, limit).removeprefix("\ufeff")


def read_benchmark(path: Path) -> Benchmark:
    """Read and check a file, which may be a link; UserError names file, key, reason and the nearest valid choice."""
    try:
        text = _text(path.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"{cut(str(path), 300)}: cannot be read: {reason}") from error
    if not NAME.fullmatch(path.stem):
        raise UserError(f"{path.name}: the file's name {NAMING}")
    return Benchmark(path.stem, path, text, parse(text, path.name))
