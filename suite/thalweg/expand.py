"""Expands a benchmark file, which declares a grid of trials and probes, to a plan of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thalweg import guard
from thalweg.benchmark_file import (
    NAME,
    NAMING,
    BenchmarkFile,
    OptimizerSpec,
    OverrideSpec,
    Recipe,
    WorkloadSpec,
    parse,
)
from thalweg.contracts import Metric, Problem
from thalweg.contracts.budget import Target
from thalweg.contracts.option import resolve, without_defaults
from thalweg.errors import UserError, unknown
from thalweg.failure import Failure
from thalweg.fit import check_optimizer, checked_shape
from thalweg.limits import PAIRS, TRIALS
from thalweg.plan import Plan, PlannedTrials, Seeds, Settings, Workload, uncollected
from thalweg.refs import UserFiles, check_keys, check_probe
from thalweg.registry import Registry
from thalweg.selection import Device, Only, Selection, is_wanted, parse_extra, parse_only, seeds_wanted
from thalweg.shown import cut
from thalweg.stacking import seeds_stack
from thalweg.store.claims import CLAIMS
from thalweg.trial import FoundBy, ProbeRequest, Trial


@dataclass
class Benchmark:
    """A checked benchmark file."""

    name: str
    path: Path
    text: str
    """The file's text, a copy of which is kept with the results; empty for a benchmark without a file."""
    spec: BenchmarkFile
    files: Mapping[str, str] | None = None
    """Set where results are only read: path and digest of each file that the results were made from (``files_of``).

    A file that the benchmark names and that is gone is then looked up here, and is no mistake.
    """
    found: FoundBy = field(default_factory=dict)
    """What was found out about the optimizers that made the results, for a machine where it is not known."""

    @uncollected()
    def expand(self, registry: Registry, selection: Selection | None = None, settings: Settings | None = None) -> Plan:
        """The trials, in order of workload, optimizer and seed. UserError names file, key and the nearest choice.

        Args:
            registry: where the components are.
            selection: the choices of the command line.
            settings: hyperparameters that replace those of the file, by workload and optimizer. Each setting of a pair
                gives one trial a seed. A pair without settings is left out. None: the file's own hyperparameters.
        """
        if self.spec.imported is not None:
            raise UserError(f"{self.path.name}: {self.name!r} holds imported runs, which cannot be trained here")
        selection = selection or Selection()
        optimizers = self.optimizers(selection)
        added = {label: spec.optimizer or label for label, spec in map(parse_extra, selection.extra)}
        only = parse_only(selection.only, optimizers, self.spec.workloads, added)
        count = selection.seeds or self.spec.seeds
        seeds = seeds_wanted(only, count)
        self._check_count(only, optimizers, len(seeds) if "seed" in only else count, settings)
        workloads: dict[str, Workload] = {}
        groups: list[Seeds] = []
        for workload_name, workload in self.spec.workloads.items():
            where = self._where(f"workloads.{workload_name}")
            # where results are only read, the data is not looked at and may be gone
            shape = None if self.files is not None else checked_shape(workload, registry, self._files, where)
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
                    check_optimizer(bases[0], registry, shape, self.path.name, f"{workload_name}.{label}")
                keep = selection.keep or self.spec.keep
                requests = self._probes(registry, workload_name, label)
                probes_wanted = [registry.probe(request.probe.name) for _, request in requests]
                fit = all(probe.weights_suffice or not probe.looks_at_optimizer for probe in probes_wanted)
                if fit and self.spec.seeds > 1:
                    place = {"stack": seeds_stack()}
                    candidates = [base.model_copy(update=place) for base in bases]
                    title = f"{workload_name} · {label}"
                    bases = [
                        candidate if selection.stacks(candidate, title, wanted) else base
                        for candidate, base in zip(candidates, bases, strict=True)
                    ]
                groups += [Seeds(workload_name, label, base, wanted, requests, keep) for base in bases]
        if not groups and settings is None:
            raise UserError(f"{self.name}: nothing is left of the benchmark after {cut(' '.join(selection.only))}")
        return Plan(self.name, workloads, PlannedTrials(groups))

    def _check_count(
        self, only: Only, optimizers: Mapping[str, OptimizerSpec], seeds: int, settings: Settings | None
    ) -> None:
        """Count the grid without expanding it; TooMuch where it has more pairs or trials than the limit."""
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
        """The optimizers of the file and those that the command line adds, by label."""
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

    @property
    def _files(self) -> UserFiles:
        return UserFiles(self.path.parent, self.files, self.found)

    def _where(self, key: str) -> str:
        return f"{self.path.name}: {cut(key, 200)}"

    def _workload(self, registry: Registry, name: str, spec: WorkloadSpec) -> Workload:
        where = self._where(f"workloads.{name}")
        problem = registry.problem(spec.problem.name, f"{where}.problem")
        located = self._files.located(problem, spec.problem.options, f"{where}.problem")
        options = resolve(problem.options, located, f"{where}.problem")
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
            start=_start(problem, options, target, f"{where}.problem"),
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
        check_keys(entry.component.options, spec, where)
        check_keys(entry.component.options, override, self._where(f"overrides.{workload_name}.{label}"))
        resolve(entry.component.options, spec.options, where)
        hyperparameters = spec.options | override.options | dict(setting)
        problem = registry.entry("problems", workload.problem.name)
        architecture = registry.entry(
            "architectures", workload.architecture.name, self._where(f"workloads.{workload_name}.architecture")
        )
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
            problem=self._files.ref(problem, workload.problem.options, f"{at}.problem"),
            architecture=self._files.ref(architecture, workload.architecture.options, f"{at}.architecture"),
            optimizer=self._files.ref(entry, hyperparameters, tuned),
            budget=budget,
            batch_size=override.batch_size or workload.batch_size,
            validation_fraction=workload.validation_fraction,
            evaluate_every=override.evaluate_every or workload.evaluate_every,
            **recipe,
            dtype=workload.dtype,
            # other devices have no TF32, so it changes no number there
            precision="full" if workload.precision == "tf32" and device != "cuda" else workload.precision,
            device=device,
            seed=0,
        )

    def _probes(
        self, registry: Registry, workload: str, optimizer: str
    ) -> list[tuple[Sequence[int] | None, ProbeRequest]]:
        """The probes wanted on a pair, each with its seeds (None: all seeds)."""
        requests: list[tuple[Sequence[int] | None, ProbeRequest]] = []
        for label, spec in self.spec.probes.items():
            name = spec.probe or label
            where = self._where(f"probes.{label}")
            entry = registry.entry("probes", name, where)
            check_keys(entry.component.options, spec, where)
            probe = registry.probe(name)
            if set(probe.when) == {"pair"}:
                raise UserError(f"{where}: probe {name!r} compares two trials: see 'thalweg probe --other'")
            ref = self._files.ref(entry, spec.options, where)
            check_probe(probe, ref, where)
            if workload in (spec.workloads or (workload,)) and optimizer in (spec.optimizers or (optimizer,)):
                requests.append((spec.seeds, ProbeRequest(label=label, probe=ref)))
        return requests


def _start(problem: Problem, options: Mapping[str, Any], target: Target | None, where: str) -> float | None:
    """The level from which easier targets are spaced, as the target or the problem declares it."""
    if target is None or target.start is not None:
        return target.start if target else None
    try:
        return problem.starting_level(options, target.metric)
    except Exception as error:  # a plugin's mistake
        raise UserError(f"{where}: {problem.name!r}: starting_level: {Failure.of(error).line}") from error


def load_benchmark(name: str, registry: Registry) -> Benchmark:
    """A registered benchmark by name, or any file by its path (ending in ``.toml``)."""
    path = Path(name) if name.endswith(".toml") else registry.benchmark(name)
    return read_benchmark(path)


def _text(path: Path, limit: int = guard.TEXT) -> str:
    """A benchmark's text. Of a file that is too large, only as much is read as shows that.

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
    if path.stem == CLAIMS:
        raise UserError(
            f"{path.name}: the name {CLAIMS!r} belongs to the results of claims: give the file another name"
        )
    return Benchmark(path.stem, path, text, parse(text, path.name))


def optimizers_of(benchmark: Benchmark, selection: Selection) -> list[str]:
    """The names of the optimizers whose trials a selection of a benchmark has."""
    optimizers = benchmark.optimizers(selection)
    added = {label: spec.optimizer or label for label, spec in map(parse_extra, selection.extra)}
    wanted = parse_only(selection.only, optimizers, benchmark.spec.workloads, added).get("optimizer", optimizers)
    return list(dict.fromkeys(spec.optimizer or label for label, spec in optimizers.items() if label in wanted))
