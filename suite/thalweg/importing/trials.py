"""Writes imported runs as trials of a benchmark of their own."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from thalweg import guard
from thalweg.benchmark_file import (
    NAME,
    NAMING,
    BenchmarkFile,
    ImportedChoice,
    ImportedMetric,
    ImportedSpec,
    ImportedWorkload,
    parse,
)
from thalweg.contracts.budget import Budget
from thalweg.contracts.importer import COSTS
from thalweg.errors import UserError, unknown
from thalweg.foreign.keys import direction, metric_of
from thalweg.importing.comparable import check_units
from thalweg.importing.labels import check_twice, cleaned, is_tuning, labels_of
from thalweg.importing.mapping import Curve, Mapped
from thalweg.importing.readers import Read
from thalweg.runner.interrupts import finish_writing
from thalweg.store.curve import CURVE_COLUMNS
from thalweg.store.documents import ImportedFrom, TrialDocument
from thalweg.store.writing import ResultsFolder
from thalweg.trial import ComponentRef, Trial

PROVIDER = "imported"
"""The provider of components that nobody here can build."""


@dataclass
class Import:
    """Trials that are ready to be written."""

    benchmark: str
    text: str
    """The benchmark's file."""
    trials: list[tuple[TrialDocument, Curve]]
    workloads: Mapping[str, ImportedWorkload]
    notes: list[str] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """A row for each workload and optimizer: seeds, steps, metrics and how runs ended."""
        rows = [
            {
                "workload": document.workload,
                "optimizer": document.optimizer,
                "seed": document.trial.seed,
                "steps": document.summary["step"],
                "metrics": ", ".join(sorted(f"{key.split}.{key.metric}" for key in curve.series)),
                "status": document.status,
            }
            for document, curve in self.trials
        ]
        table = pd.DataFrame(rows)
        groups = table.groupby(["workload", "optimizer"], sort=False)
        found = groups.agg(
            seeds=("seed", "size"),
            steps=("steps", "max"),
            metrics=("metrics", "first"),
            lost=("status", lambda ended: int((ended != "done").sum())),
        )
        return found.reset_index()


def prepare(
    found: Read,
    runs: Mapped,
    benchmark: str,
    better: Mapping[str, str],
    metric: Mapping[str, str] | None = None,
    target: Mapping[str, float] | None = None,
    paired: bool = False,
) -> Import:
    """Make trials of runs under their names.

    Args:
        found: what the reader found.
        runs: the runs under their names.
        benchmark: the benchmark's name.
        better: ``higher`` or ``lower`` by metric, where the metric is not known.
        metric: the metric that ranks, by workload, "" for all others; without one a score goes before a loss.
        target: the value of that metric to reach, by workload, "" for all others.
        paired: whether equal seeds of two optimizers had the same start and the same data.

    Raises:
        UserError: names cannot be used, two runs are one trial, or a metric's direction is not known.
    """
    if not NAME.fullmatch(benchmark):
        raise UserError(f"--benchmark {benchmark!r}: the name {NAMING}")
    curves = [curve for curve in runs.curves if curve.series]
    notes = [*found.notes, *runs.notes]
    if len(curves) < len(runs.curves):
        notes.append(f"{len(runs.curves) - len(curves):,} runs have no known metric, and are left out")
    told = cleaned(curve.workload for curve in curves)
    for curve in curves:
        curve.workload = told[curve.workload]
    choices = [_choice(curve) for curve in curves]
    labels = labels_of(curves, notes)
    if tuned := sum(map(is_tuning, curves)):
        notes.append(f"{tuned:,} runs have tuning = true, as exports write it, and rank nowhere")
    check_twice(curves, labels)
    metric, target = metric or {}, target or {}
    names = list(dict.fromkeys(curve.workload for curve in curves))
    for name in names:
        check_units(name, [curve for curve in curves if curve.workload == name], notes)
    for where, given in (("--metric", metric), ("--target", target)):
        for name in given:
            if name and name not in names:
                raise UserError(f"{where}: {unknown('workload', name, names)}")
    workloads = {
        name: _workload(
            [curve for curve in curves if curve.workload == name],
            dict(better),
            metric.get(name, metric.get("")),
            target.get(name, target.get("")),
        )
        for name in names
    }
    chosen: dict[str, dict[str, ImportedChoice]] = defaultdict(dict)
    for curve, label, choice in zip(curves, labels, choices, strict=True):
        if choice is not None:
            chosen[curve.workload][label] = choice
    workloads = {name: one.model_copy(update={"choice": chosen[name]}) for name, one in workloads.items()}
    spec = ImportedSpec(format=found.format, paired=paired, workloads=workloads)
    documents = [(_document(curve, label, found), curve) for curve, label in zip(curves, labels, strict=True)]
    seeds = max(1, len({curve.seed for curve in curves if not is_tuning(curve)}))
    text = _benchmark_text(benchmark, spec, labels, seeds)
    parse(text, "benchmark.toml")  # what is written can be read
    return Import(benchmark, text, documents, workloads, notes)


def write(made: Import, root: Path, replace_others: bool = False) -> tuple[int, int]:
    """Write the trials; returns how many are new, and how many were there.

    Args:
        made: the trials.
        root: the results folder.
        replace_others: whether a run takes the place of another one of equal workload, optimizer and seed.

    Raises:
        UserError: the folder has results of another kind under the name, or another run in the place of one.
    """
    results = ResultsFolder(root, made.benchmark)
    there = {trial.document.hash: trial.document for trial in results.scan()[0]} if results.path.is_dir() else {}
    text = made.text
    if results.files.has("benchmark.toml"):
        from thalweg.kept import kept_benchmark

        kept = kept_benchmark(results).spec
        if kept.imported is None:
            raise UserError(f"{results.path}: holds trained results: choose another --benchmark")
        text = _merged(made, kept)
    places = {(one.workload, one.optimizer, one.trial.seed): hash_ for hash_, one in there.items() if not _tuned(one)}
    new = [(document, curve) for document, curve in made.trials if document.hash not in there]
    for document, curve in new:
        place = (document.workload, document.optimizer, document.trial.seed)
        other = None if _tuned(document) else places.get(place)
        if other is not None and curve.numbered:
            raise UserError(
                f"{results.path}: a run of {document.optimizer} on {document.workload} says no seed, and seed "
                f"{document.trial.seed} is there: --map seed=PARAMETER or --paths gives seeds; or import all in one"
            )
        if other is not None and not replace_others:
            workload, optimizer, seed = place
            raise UserError(
                f"{results.path}: seed {seed} of {optimizer} on {workload} is there already with other numbers or "
                "settings: --replace puts this run in its place; or choose another --benchmark, or import all in one"
            )
    results.write_benchmark(text)
    for document, curve in new:
        with results.claim(document) as folder, finish_writing():
            table = _curve(curve, made.workloads[curve.workload])
            results.write(folder, document, table, {}, {}, older=None)
        other = None if _tuned(document) else places.get((document.workload, document.optimizer, document.trial.seed))
        if other is not None:  # after the new one is there, so that a kill loses neither
            for name in results.names_of(other):
                guard.remove_left(results.trials / name)
    return len(new), len(made.trials) - len(new)


def _tuned(document: TrialDocument) -> bool:
    return document.imported is not None and document.imported.tuning


def _merged(made: Import, kept: BenchmarkFile) -> str:
    """The benchmark's file with the workloads and optimizers of earlier imports besides."""
    spec = parse(made.text, "benchmark.toml")
    assert spec.imported is not None
    assert kept.imported is not None
    workloads = {**kept.imported.workloads, **spec.imported.workloads}
    merged = spec.imported.model_copy(update={"workloads": workloads})
    labels = list(dict.fromkeys([*kept.optimizers, *spec.optimizers]))
    return _benchmark_text(made.benchmark, merged, labels, max(kept.seeds, spec.seeds))


def _choice(curve: Curve) -> ImportedChoice | None:
    """What tuning adds to the variance of the optimizer's mean, where an export says it; no setting."""
    told = {name: curve.parameters.pop(f"choice_variance{end}", 0.0) for name, end in (("linear", ""), ("log", "_log"))}
    if not any(told.values()):
        return None
    try:
        return ImportedChoice.model_validate(told)
    except ValueError as error:
        where = f"{curve.run.source}: {curve.run.name}"
        raise UserError(f"{where}: choice_variance: {told['linear']!r} is no variance") from error


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "unnamed"


def _workload(
    curves: Sequence[Curve], better: dict[str, str], metric: str | None, target: float | None
) -> ImportedWorkload:
    """The metrics of a workload, the one that ranks first."""
    keys = list(dict.fromkeys(key for curve in curves for key in curve.series))
    names = list(dict.fromkeys(key.metric for key in keys))
    ranks = (
        metric if metric is not None else next((one for one in names if direction(one, better) == "higher"), names[0])
    )
    if ranks not in names:
        raise UserError(f"--metric: {unknown('metric', ranks, names)}")
    metrics: dict[str, ImportedMetric] = {}
    for one in [ranks, *(other for other in names if other != ranks)]:
        which = direction(one, better)
        if which is None:
            raise UserError(
                f"metric {one!r}: whether higher or lower is better is not known: --better {one}=higher says it"
            )
        made = metric_of(one, which, _range(curves, one))
        metrics[one] = ImportedMetric(better=made.better, scale=made.scale, unit=made.unit)
    own = {key.split for key in keys if key.metric == ranks}
    split: Literal["train", "valid", "test"] = "test" if "test" in own else "valid" if "valid" in own else "train"
    every = [one for curve in curves for one in curve.series.values()]
    known = [name for name in COSTS if all(name in one.costs and not np.isnan(one.costs[name]).any() for one in every)]
    return ImportedWorkload(
        metric=ranks,
        metrics=metrics,
        split=split,
        target=target,
        valid=any(key.split == "valid" for key in keys),
        known=tuple(known),
        selected=split == "test" and "valid" in own,
    )


def _range(curves: Sequence[Curve], metric: str) -> tuple[float, float]:
    """The smallest and the largest finite value of a metric; nan where it has none."""
    low, high = math.inf, -math.inf
    for curve in curves:
        for key, one in curve.series.items():
            if key.metric == metric:
                finite = one.numbers[np.isfinite(one.numbers)]
                low, high = min(low, finite.min(initial=math.inf)), max(high, finite.max(initial=-math.inf))
    return (low, high) if low <= high else (math.nan, math.nan)


def _document(curve: Curve, label: str, found: Read) -> TrialDocument:
    status, reason = _ended(curve)
    steps = curve.steps
    digest = _content(curve, status)
    options = {
        str(key): value for key, value in curve.parameters.items() if isinstance(value, str | int | float | bool)
    }
    trial = Trial(
        problem=ComponentRef(
            name=PROVIDER, provider=PROVIDER, options={"workload": curve.workload, "content": digest[:16]}
        ),
        architecture=ComponentRef(name=PROVIDER, provider=PROVIDER),
        # no name of the registry, which has other hyperparameters
        optimizer=ComponentRef(name=f"{PROVIDER}-{_slug(curve.optimizer)}", provider=PROVIDER, options=options),
        budget=Budget(steps=max(steps, 1)),
        seed=curve.seed,
    )
    return TrialDocument(
        hash=trial.hash,
        workload=curve.workload,
        optimizer=label,
        trial=trial,
        options={"problem": {}, "architecture": {}, "optimizer": options},
        status=status,
        reason=reason,
        summary={"step": steps, "final": _final(curve)},
        imported=ImportedFrom(
            format=found.format,
            reader=found.version,
            source=curve.run.source.name,
            run=curve.run.name,
            sha256=_digest_of(curve.run.source),
            tuning=is_tuning(curve),
        ),
    )


def _content(curve: Curve, status: str) -> str:
    """A digest of a curve's numbers and settings."""
    settings = json.dumps([curve.optimizer, curve.parameters, status], sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode())
    for key, one in sorted(curve.series.items()):
        for name, column in (("step", one.steps), ("value", one.numbers), *sorted(one.costs.items())):
            digest.update(f"\0{key.split}.{key.metric} {name}\0".encode())
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _curve(curve: Curve, workload: ImportedWorkload) -> pd.DataFrame:
    """The curve as a trial has it."""
    series = list(curve.series.items())
    steps = np.concatenate([one.steps for _, one in series])
    order = np.argsort(steps, kind="stable")
    which = np.repeat(np.arange(len(series)), [len(one.steps) for _, one in series])[order]
    columns: dict[str, Any] = {}
    for name, kind in CURVE_COLUMNS.items():
        if name in ("split", "metric"):
            columns[name] = _texts([getattr(key, name) for key, _ in series], which)
        elif name == "step":
            columns[name] = steps[order].astype(kind)
        elif name == "value":
            columns[name] = np.concatenate([one.numbers for _, one in series])[order]
        elif name in workload.known:
            columns[name] = np.concatenate([one.costs[name] for _, one in series])[order].astype(kind)
        else:
            columns[name] = np.full(len(steps), 0 if kind == "int64" else math.nan, kind)
    return pd.DataFrame(columns, copy=False)


def _texts(names: Sequence[str], which: Any) -> Any:
    """A column of few different texts."""
    different = sorted(set(names))
    return pd.Categorical.from_codes(np.array([different.index(name) for name in names])[which], pd.Index(different))


def _ended(curve: Curve) -> tuple[Literal["done", "diverged", "failed"], str]:
    """How a run ended: as its source says, and as diverged where a last loss is no number."""
    said = curve.run.status
    if said:
        return said, curve.run.reason
    for key, one in curve.series.items():
        if key.metric in ("loss", "perplexity", "mse", "rmse") and not math.isfinite(one.last):
            return "diverged", f"the {key.split} {key.metric} is {one.last:g} at step {one.steps[-1]:.0f}"
    return "done", ""


def _final(curve: Curve) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for key, one in curve.series.items():
        found[key.split][key.metric] = one.last
    return dict(found)


def _digest_of(path: Path) -> str:
    from thalweg.data.digest import sha256

    return sha256(path) if path.is_file() else ""


def _benchmark_text(benchmark: str, spec: ImportedSpec, labels: Sequence[str], seeds: int) -> str:
    """The benchmark's file: names of workloads and optimizers, which nobody here can train, and ``[imported]``."""
    lines = [
        f"title = {json.dumps(benchmark)}",
        f"summary = {json.dumps(f'runs that were imported ({spec.format}), and not trained here')}",
        f"seeds = {seeds}",
        "",
        "[imported]",
        f"format = {json.dumps(spec.format)}",
        f"paired = {json.dumps(spec.paired)}",
        "",
    ]
    for name, workload in spec.workloads.items():
        table = workload.model_dump(mode="json", exclude_none=True, exclude={"metrics", "choice"})
        lines.append(f"[imported.workloads.{json.dumps(name)}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        for metric, about in workload.model_dump(mode="json")["metrics"].items():
            inner = ", ".join(f"{key} = {json.dumps(value)}" for key, value in about.items())
            lines.append(f"metrics.{json.dumps(metric)} = {{ {inner} }}")
        for optimizer, choice in workload.choice.items():
            lines.append(f"choice.{json.dumps(optimizer)} = {{ linear = {choice.linear!r}, log = {choice.log!r} }}")
        lines.append("")
    for name in spec.workloads:
        lines += [f"[workloads.{json.dumps(name)}]", f'problem = "{PROVIDER}"', f'architecture = "{PROVIDER}"', ""]
    for label in dict.fromkeys(labels):
        lines += [f"[optimizers.{json.dumps(label)}]", ""]
    return "\n".join(lines)
