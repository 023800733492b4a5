"""``thalweg results import-curves``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from thalweg.console import console, errors, print_json, print_table
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.importing.mapping import Names, check, mapped, read_names
from thalweg.importing.readers import read
from thalweg.importing.trials import Import, prepare, write
from thalweg.present.sentences import NOT_KNOWN, count, not_known
from thalweg.registry import load_registry
from thalweg.selection import parse_settings
from thalweg.store.roots import results_root

T = TypeVar("T")


@dataclass(frozen=True)
class CurvesOptions:
    """What ``thalweg results import-curves`` is asked for."""

    paths: tuple[Path, ...]
    benchmark: str
    format: str = "auto"
    into: Path | None = None
    map: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    template: str = ""
    mapping: Path | None = None
    save_mapping: Path | None = None
    metric: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    paired: bool = False
    steps_per_epoch: float | None = None
    replace: bool = False
    dry: bool = False
    as_json: bool = False
    plugins: tuple[Path, ...] = ()


def import_curves_command(options: CurvesOptions) -> ExitCode:
    """Read runs, name their parts, and write them as trials of a benchmark."""
    names = _names(options)
    registry = load_registry(options.plugins)
    if options.benchmark in {entry.name for entry in registry.entries("benchmarks")}:
        raise UserError(f"--benchmark {options.benchmark}: is a benchmark of thalweg's own: choose another name")
    found = read(registry, options.paths, options.format, names.fields.get("step", ""))
    if options.steps_per_epoch is not None and not 1 <= options.steps_per_epoch < 2**53:
        raise UserError(f"--steps-per-epoch {options.steps_per_epoch:g}: give a number from 1 up")
    runs = mapped(found.runs, names, options.steps_per_epoch)
    # an export says nothing of a workload that has another name now
    workloads = {curve.workload for curve in runs.curves}
    ranks = {name: one for name, one in found.told.ranks.items() if name in workloads}
    # a target is one of the metric that ranks, which the user may have changed
    kept = workloads if "" not in names.metric else set()
    targets = {name: one for name, one in found.told.targets.items() if name in kept - names.metric.keys()}
    made = prepare(
        found,
        runs,
        options.benchmark,
        {**found.told.better, **names.better},
        _before(names.metric, ranks),
        _before(names.target, targets),
        options.paired,
    )
    root = results_root(options.into)
    try:
        new, there = (0, 0) if options.dry else write(made, root, options.replace)
        if options.save_mapping is not None and not options.dry:
            options.save_mapping.write_text(names.to_toml(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{error.filename or root}: cannot be written: {error.strerror}") from error
    left_out = dict(runs.left_out.most_common())
    if options.as_json:
        rows = made.table().to_dict("records")
        print_json(
            {
                "benchmark": made.benchmark,
                "format": found.format,
                "reader": found.version,
                "results": str(root),
                "added": new,
                "there": there,
                "rows": rows,
                "left_out": left_out,
                "notes": made.notes,
                "not_known": list(NOT_KNOWN),
            }
        )
        return ExitCode.DONE
    _print(made, left_out)
    if options.dry:
        console().print(f"{count(len(made.trials), 'trial')} would be written; nothing was")
        return ExitCode.DONE
    console().print(f"{made.benchmark}: {new} added, {there} there already; results in {root}", markup=False)
    return ExitCode.DONE


def _print(made: Import, left_out: dict[str, int]) -> None:
    table = made.table()
    headings = list(table.columns)
    cells = [
        [f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in table.to_numpy(object)
    ]
    print_table(made.benchmark, headings, cells, right=["seeds", "steps", "lost"])
    console().print()
    for note in made.notes:
        errors().print(note, markup=False)
    errors().print(f"Of imported runs {not_known()}.", markup=False)
    if left_out:
        some = ", ".join(list(left_out)[:12]) + (", …" if len(left_out) > 12 else "")
        errors().print(f"left out, since they mean no known metric: {some} (--map valid.NAME=KEY)", markup=False)


def _names(options: CurvesOptions) -> Names:
    """The mapping of the file, with what the command line says besides."""
    base = Names() if options.mapping is None else read_names(options.mapping)
    constants: dict[str, Any] = parse_settings(options.set, "--set")
    names = Names(
        {**base.fields, **_pairs(options.map, "--map")},
        {**base.constants, **constants},
        options.template or base.paths,
        {**base.better, **_pairs(options.better, "--better")},
        {**base.metric, **_by_workload(options.metric)},
        {**base.target, **_targets(options.target)},
    )
    check(names, "--map" if options.mapping is None else str(options.mapping))
    return names


def _before(given: Mapping[str, T], told: Mapping[str, T]) -> dict[str, T]:
    """What the user says, before what the files say; a value for all workloads goes before too."""
    return dict(given) if "" in given else {**told, **given}


def _by_workload(texts: Iterable[str]) -> dict[str, str]:
    """``NAME`` for all workloads, or ``WORKLOAD=NAME``."""
    parts = [text.rpartition("=") for text in texts]
    return {workload: name for workload, _, name in parts}


def _targets(texts: Iterable[str]) -> dict[str, float]:
    found = {}
    for workload, text in _by_workload(texts).items():
        try:
            found[workload] = float(text)
        except ValueError:
            found[workload] = math.nan
        if not math.isfinite(found[workload]):
            raise UserError(f"--target: {text!r} is no number")
    return found


def _pairs(texts: Iterable[str], where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if not equals or not key.strip() or not value.strip():
                raise UserError(f"{where} {part!r}: give KEY=VALUE")
            found[key.strip()] = value.strip()
    return found
