"""Names the parts of foreign runs: their metrics and splits, and what tells optimizers and seeds apart."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.contracts.importer import ForeignRun
from thalweg.errors import UserError, unknown
from thalweg.foreign.cells import is_number, plain
from thalweg.foreign.keys import LEFT_OUT, METRICS, Key, guessed
from thalweg.foreign.keys import SPLITS as WORDS
from thalweg.importing.series import Series, series_of

FIELDS = ("workload", "optimizer", "seed", "step")
"""What a mapping names besides metrics."""

SPLITS = ("train", "valid", "test")

NO_SETTING = re.compile(
    r"(^|[_.\s-])(id|uuid|time|timestamp|date|host|hostname|dir|path|folder|url|pid)s?$"
    r"|^((run|exp|experiment|job|trial|display|project)[_.\s-])?(name|version)$|^(gpu|device|rank|local_rank|resume)$",
    re.I,
)
"""Names of parameters that tell runs apart and are no settings."""

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}")


@dataclass(frozen=True)
class Names:
    """A mapping from the words of a source to those of a trial."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """``workload``, ``optimizer``, ``seed`` or ``split.metric``: the key or parameter of the source that it is."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that all runs have, such as ``workload``."""
    paths: str = ""
    """A template of the end of paths, such as ``{optimizer}/{seed}/metrics.csv``, that gives parameters."""
    better: Mapping[str, str] = field(default_factory=dict)
    """``higher`` or ``lower``, by metric."""
    metric: Mapping[str, str] = field(default_factory=dict)
    """The metric that ranks, by workload; "" for all others."""
    target: Mapping[str, float] = field(default_factory=dict)
    """The value of that metric to reach, by workload; "" for all others."""

    def to_toml(self) -> str:
        """The mapping as a file."""
        import json

        def table(name: str, entries: Mapping[str, Any]) -> list[str]:
            lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in entries.items()]
            return [f"[{name}]", *lines, ""] if lines else []

        lines = [f"paths = {json.dumps(self.paths)}", ""] if self.paths else []
        lines += [*table("map", self.fields), *table("set", self.constants), *table("better", self.better)]
        lines += [*table("metric", self.metric), *table("target", self.target)]
        return "\n".join(lines)


def read_names(path: Path) -> Names:
    """A mapping from a file.

    Raises:
        UserError: the file, the key and the nearest valid choice.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no TOML file that can be read: {error}") from error
    known = ("paths", "map", "set", "better", "metric", "target")
    for key, value in table.items():
        if key not in known:
            raise UserError(f"{path}: {unknown('key', key, known)}")
        if isinstance(value, str) != (key == "paths") or (key != "paths" and not isinstance(value, dict)):
            raise UserError(f"{path}: {key}: give a {'text' if key == 'paths' else 'table'}")
    tables = [table.get(key, {}) for key in ("map", "set", "better", "metric", "target")]
    fields, constants, better, metric, target = tables
    for workload, value in target.items():
        if not is_number(value):
            raise UserError(f"{path}: target: {workload}: {value!r} is no number")
    return Names(fields, constants, table.get("paths", ""), better, metric, target)


def check(names: Names, where: str) -> None:
    """UserError where a mapping names what no trial has."""
    for key in names.fields:
        split, dot, metric = key.partition(".")
        if key not in FIELDS and not (dot and split in SPLITS and metric):
            raise UserError(
                f"{where}: {key!r} is none of {', '.join(FIELDS)}, and no split with a metric, such as valid.accuracy"
            )
    for metric, better in names.better.items():
        if better not in ("higher", "lower"):
            raise UserError(f"{where}: better: {metric} is {better!r}: give 'higher' or 'lower'")


@dataclass
class Curve:
    """A run under the names of a trial."""

    workload: str
    optimizer: str
    seed: int
    series: dict[Key, Series]
    """The values of each split and metric."""
    parameters: dict[str, Any]
    run: ForeignRun
    keys: tuple[str, ...]
    """The run's own keys."""
    numbered: bool = False
    """Whether the run says no seed, and has a number in its place."""

    @property
    def steps(self) -> int:
        """The last step."""
        return int(max(one.steps[-1] for one in self.series.values()))


@dataclass
class Mapped:
    """All runs under the names of trials, and what was left out."""

    curves: list[Curve]
    left_out: Counter[str]
    """Keys that mean no known metric, with the number of runs that have them."""
    notes: list[str]


def mapped(runs: Sequence[ForeignRun], names: Names, steps_per_epoch: float | None = None) -> Mapped:
    """Name the parts of each run.

    Args:
        runs: the runs.
        names: what their parts are called.
        steps_per_epoch: what turns epochs into steps, for runs that count epochs.

    Raises:
        UserError: a run has no optimizer, no seed that is a whole number, or no metric.
    """
    wanted = {source: Key(*key.split(".", 1)) for key, source in names.fields.items() if key not in FIELDS}
    left_out: Counter[str] = Counter()
    curves = [_mapped(run, names, wanted, left_out) for run in runs]
    for source in wanted:
        if not any(source in curve.keys for curve in curves):
            there = sorted({key for curve in curves for key in curve.keys})
            raise UserError(f"--map: {unknown('key', source, there)}")
    without = [curve for curve in curves if not curve.series]
    if len(without) == len(curves):
        seen = ", ".join(key for key, _ in left_out.most_common(12)) or "nothing"
        raise UserError(f"no run has a metric that is known; they have {seen}: --map valid.accuracy=KEY names one")
    notes = [*_in_steps(curves, steps_per_epoch), *_unseeded(curves)]
    repeated = sum(one.repeated for curve in curves for one in curve.series.values())
    if repeated:
        notes.append(f"{repeated:,} rows repeat a step of their run, as after a resume: the last one counts")
    return Mapped(curves, left_out, notes)


def _mapped(run: ForeignRun, names: Names, wanted: Mapping[str, Key], left_out: Counter[str]) -> Curve:
    parameters = {**run.parameters, **_of_path(run, names.paths), **names.constants}

    def taken(name: str, default: Any = None) -> Any:
        source = names.fields.get(name, name)
        if source in parameters:
            return parameters.pop(source)
        if name in names.fields:
            raise UserError(f"{run.source}: {run.name}: {unknown('parameter', source, parameters)}")
        return default

    optimizer, workload, seed = taken("optimizer"), taken("workload", "imported"), taken("seed")
    if optimizer is None:
        there = ", ".join(list(parameters)[:12]) or "none"
        ways = "--map optimizer=PARAMETER, --paths '{optimizer}/...' or --set optimizer=NAME"
        raise UserError(f"{run.source}: {run.name}: says no optimizer; its parameters are {there}: {ways} gives it")
    if seed is not None:
        try:
            whole = int(seed) if not isinstance(seed, bool) and float(seed) == int(float(seed)) else None
        except (TypeError, ValueError, OverflowError):
            whole = None
        if whole is None or not 0 <= whole < 2**31:
            raise UserError(f"{run.source}: {run.name}: seed {seed!r} is no whole number from 0 up")
        seed = whole
    found = dict(series_of(run.rows))
    meaning = {key: wanted.get(key) or _tidy_key(key) or guessed(key) for key in found}
    for key, means in meaning.items():
        if means is None:
            left_out[key] += 1
    known = {key: means for key, means in meaning.items() if means is not None}
    # a key that the user names goes before one that is guessed to be the same
    told = {wanted[key] for key in known if key in wanted}
    known = {key: means for key, means in known.items() if key in wanted or means not in told}
    by_meaning = Counter(known.values())
    for means, number in by_meaning.items():
        if number > 1:
            same = ", ".join(key for key, one in known.items() if one == means)
            said = f"{same} would all be {means.split}.{means.metric}"
            raise UserError(f"{run.source}: {run.name}: {said}: --map {means.split}.{means.metric}=KEY chooses one")
    series = {means: found[key] for key, means in known.items()}
    for one in series.values():
        steps = one.steps
        if not np.isfinite(steps).all() or (steps < 0).any() or (steps > 2**53).any() or (steps % 1 != 0).any():
            raise UserError(f"{run.source}: {run.name}: a step is no whole number from 0 up")
    parameters = {key: value for key, value in parameters.items() if key not in ("run", "hash")}
    return Curve(str(workload), str(optimizer), -1 if seed is None else seed, series, parameters, run, tuple(found))


def _tidy_key(key: str) -> Key | None:
    """``valid.accuracy``, as tidy tables say it."""
    split, dot, metric = key.partition(".")
    known = {**{one: one for one in SPLITS}, **WORDS}.get(split.lower())
    if LEFT_OUT & set(re.split(r"[^a-z0-9]+", metric.lower())):
        return None
    return Key(known, METRICS.get(metric.lower(), metric)) if dot and known and metric else None


def _of_path(run: ForeignRun, template: str) -> dict[str, Any]:
    """The parameters that the end of the run's path gives, or of its name where it has no such path."""
    if not template:
        return {}
    parts = _PLACE.split(template)
    names = parts[1::2]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--paths {template!r}: names {twice[0]!r} twice")
    pattern = "".join("([^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    for text in (run.source.as_posix(), run.name):
        if found := re.search(rf"(?:^|/){pattern}$", text):
            return {name: plain(value) for name, value in zip(names, found.groups(), strict=True)}
    raise UserError(f"{run.source}: {run.name}: neither path nor name ends as --paths {template!r} says")


def _in_steps(curves: Iterable[Curve], steps_per_epoch: float | None) -> list[str]:
    """Turn epochs into steps, and say what the steps are."""
    epochs = [curve for curve in curves if curve.run.counts == "epochs"]
    if not epochs:
        if steps_per_epoch is not None:
            raise UserError("--steps-per-epoch: the runs count steps, and no epochs")
        return []
    if steps_per_epoch is None:
        return ["the steps are epochs, which the source counts: --steps-per-epoch N turns them into steps"]
    for curve in epochs:
        for one in curve.series.values():
            one.costs = {**one.costs, "epoch": one.steps}
            one.steps = np.round(one.steps * steps_per_epoch)
    return []


def _unseeded(curves: Iterable[Curve]) -> list[str]:
    """Number the runs that say no seed, for each optimizer and setting from 0 up."""
    counts: Counter[tuple[str, str, str]] = Counter()
    number = 0
    for curve in curves:
        if curve.seed >= 0:
            continue
        settings = sorted((name, repr(one)) for name, one in curve.parameters.items() if not NO_SETTING.search(name))
        key = (curve.workload, curve.optimizer, repr(settings))
        curve.seed, curve.numbered = counts[key], True
        counts[key] += 1
        number += 1
    return [f"{number:,} runs say no seed, and are numbered in their order"] if number else []
