"""A benchmark's results, read for showing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from thalweg.errors import UserError
from thalweg.expand import Benchmark
from thalweg.kept import kept_benchmark
from thalweg.present.view import View, make_view
from thalweg.registry import Registry
from thalweg.store.index import read_stored
from thalweg.store.listing import Listing
from thalweg.store.results import BenchmarkResults
from thalweg.store.timings import read_times
from thalweg.store.trials import Unreadable


@dataclass(frozen=True)
class Loaded:
    """A benchmark's results, with whatever could not be read."""

    name: str
    path: Path
    benchmark: Benchmark | None
    reason: str
    """Why the benchmark's file cannot be used; empty where it can."""
    unreadable: list[Unreadable]
    view: View
    unfinished: int = 0
    """The number of trials whose run was interrupted; they count for nobody, and are not in the view."""


def read_loaded(
    results: BenchmarkResults, registry: Registry, listing: Listing | None = None, benchmark: Benchmark | None = None
) -> Loaded:
    """Read results as results of ``benchmark``; without one, of the benchmark whose file is kept with them."""
    everything = read_stored(results, listing)
    stored = everything.counted
    reason = ""
    try:
        benchmark = benchmark or kept_benchmark(results)
        benchmark = replace(benchmark, files=stored.files)
    except UserError as error:
        reason = str(error)
    damaged = (stored.trials["curve_error"] != "") & (stored.trials["status"] != "failed")
    faults = [
        Unreadable(results.trials / str(name), f"curve.parquet: {error}")
        for name, error in stored.trials.loc[damaged, ["name", "curve_error"]].to_numpy(dtype=object)
    ]
    view = make_view(benchmark, registry, stored.only(~damaged), read_times(results.files))
    unfinished = len(everything.trials) - len(stored.trials)
    return Loaded(results.name, results.path, benchmark, reason, [*stored.unreadable, *faults], view, unfinished)
