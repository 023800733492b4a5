"""Measures a claim: the seeds that are not on disk, each saved as it ends. Worker processes call it too."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thalweg.claims.context import Context
from thalweg.claims.experiments import results_of
from thalweg.contracts.claim import COLUMNS
from thalweg.failure import Failure
from thalweg.plan import PlannedTrial
from thalweg.registry import Registry, load_registry
from thalweg.runner.environment import environment
from thalweg.runner.interrupts import heed
from thalweg.store.claims import ClaimDocument, ClaimsFolder, SeedDocument, StoredClaim


@dataclass(frozen=True)
class MeasureJob:
    """A claim to measure. Jobs can be pickled, so that a worker elsewhere can do them."""

    id: str
    tier: str
    root: Path
    identity: Mapping[str, Any]
    planned: Mapping[str, tuple[PlannedTrial, ...]]
    """The trials that decide, by experiment."""
    training_seconds: float = 0.0
    plugin_files: tuple[Path, ...] = ()
    fresh: bool = False
    """Whether to measure although the seeds are on disk."""

    @property
    def trials(self) -> list[str]:
        """The hashes of the trials, sorted."""
        return sorted(one.trial.hash for planned in self.planned.values() for one in planned)


class SeedReport(NamedTuple):
    """The outcome of one seed."""

    seed: int
    seconds: float
    cached: bool = False
    error: Failure | None = None


_registries: dict[tuple[Path, ...], Registry] = {}


def use_registry(registry: Registry) -> None:
    """Set the registry for the jobs of this process. A worker process loads its own registry once."""
    _registries[registry.plugin_files] = registry


def measure_claim(job: MeasureJob) -> list[SeedReport]:
    """Measure the seeds of a claim that are not on disk, and save each; a failure becomes a report."""
    if job.plugin_files not in _registries:
        use_registry(load_registry(job.plugin_files))
    registry = _registries[job.plugin_files]
    claim = registry.entry("claims", job.id).component
    folder = ClaimsFolder(job.root)
    document = ClaimDocument(id=job.id, tier=job.tier, identity=dict(job.identity), statement=claim.statement)
    seeds = tuple(range(claim.seeds[job.tier]))
    context = Context(job.tier, seeds, str(job.identity["device"]), job.planned, results_of(job.root))
    reports: list[SeedReport] = []
    # a folder that is read-only needs no lock where nothing is left to measure
    done = {} if job.fresh else _kept(folder, document, job.trials)[1]
    if all(str(seed) in done and done[str(seed)].error is None for seed in seeds):
        return [SeedReport(seed, done[str(seed)].seconds, cached=True) for seed in seeds]
    with folder.hold(document):
        folder.restore(document)
        table, measured = (_empty(), {}) if job.fresh else _kept(folder, document, job.trials)
        for seed in seeds:
            if str(seed) in measured and measured[str(seed)].error is None:
                reports.append(SeedReport(seed, measured[str(seed)].seconds, cached=True))
                continue
            started = time.perf_counter()
            error = None
            rows = _empty()
            try:
                rows = _measured(claim, context, seed)
            except (Exception, SystemExit) as problem:
                error = Failure.of(problem)
            heed()
            seconds = time.perf_counter() - started
            table = pd.concat([part for part in (table[table["seed"] != seed], rows) if len(part)] or [_empty()])
            measured[str(seed)] = SeedDocument(seconds=seconds, trials=job.trials, error=error)
            about = {
                "measured": measured,
                "training_seconds": job.training_seconds,
                "environment": environment(registry, context.device, 1),
            }
            folder.write(document.model_copy(update=about), table)
            reports.append(SeedReport(seed, seconds, error=error))
    return reports


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _KINDS.items()})


_KINDS = {
    "seed": "int64",
    "setting": "object",
    "quantity": "object",
    "series": "object",
    "x": "float64",
    "value": "float64",
    "note": "object",
}


def _kept(
    folder: ClaimsFolder, document: ClaimDocument, trials: list[str]
) -> tuple[pd.DataFrame, dict[str, SeedDocument]]:
    """The seeds on disk that were measured on these trials."""
    found = [one for one in folder.of(document.id)[0] if one.document.folder == document.folder]
    if not found:
        return _empty(), {}
    stored: StoredClaim = found[0]
    try:
        table = stored.table()
    except (OSError, ValueError):
        return _empty(), {}
    measured = {seed: one for seed, one in stored.document.measured.items() if sorted(one.trials) == trials}
    return table[table["seed"].isin([int(seed) for seed in measured])], measured


def _measured(claim: Any, context: Context, seed: int) -> pd.DataFrame:
    """The claim's rows for a seed, checked."""
    from thalweg.training.contained import contained
    from thalweg.training.randomness import seeded

    with contained(threads=1), seeded(seed):
        rows = claim.measure(context, seed)
    if not isinstance(rows, pd.DataFrame):
        raise TypeError(f"measure must return a table, and returned {type(rows).__name__}")
    missing = [name for name in COLUMNS[1:] if name not in rows]
    if missing:
        raise ValueError(f"measure: the table has no column {missing[0]!r}: see thalweg.contracts.Measurements")
    for name in ("x", "value"):
        if len(rows) and rows[name].dtype.kind not in "iufb":
            raise ValueError(f"measure: column {name!r} must hold numbers; a value that is missing is nan")
    rows = rows.assign(seed=seed)[list(COLUMNS)].astype(_KINDS)
    for name in ("setting", "quantity", "series", "note"):
        if not all(isinstance(value, str) for value in rows[name]):
            raise ValueError(f"measure: column {name!r} must hold texts")
    twice = rows[np.isnan(rows["x"])].duplicated(["setting", "quantity", "series"])
    if twice.any():
        row = rows[np.isnan(rows["x"])][twice].iloc[0]
        named = ", ".join(repr(row[name]) for name in ("setting", "quantity", "series"))
        raise ValueError(f"measure: two values of {named} for one seed")
    return rows
