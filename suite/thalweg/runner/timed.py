"""The pass of ``thalweg run --timed``, which times one configuration after the other while nothing else trains."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from thalweg.failure import Failure
from thalweg.plan import Plan, PlannedTrial
from thalweg.registry import Registry
from thalweg.runner.environment import environment
from thalweg.store.results import BenchmarkResults
from thalweg.store.timings import configuration, machine_name, read_times, write_times
from thalweg.store.writing import ResultsFolder


def time_benchmark(
    plan: Plan, registry: Registry, root: Path, fresh: bool, say: Callable[[str], None], threads: int = 1
) -> dict[str, Failure]:
    """Time a step of each configuration that has no time on this machine yet; the failures, by title."""
    results = BenchmarkResults(root, plan.benchmark)
    known = read_times(results.files)
    chosen: dict[str, PlannedTrial] = {}
    for planned in plan.trials:
        chosen.setdefault(configuration(planned.trial), planned)
    failures: dict[str, Failure] = {}
    for key, planned in chosen.items():
        here = environment(registry, planned.trial.device, threads)
        title = f"{planned.workload} · {planned.optimizer}"
        if not fresh and any(time.machine == machine_name(here) for time in known.get(key, [])):
            continue
        folder = ResultsFolder(root, plan.benchmark).path
        try:
            table = _measured(planned, registry, threads)
            write_times(folder, planned.workload, planned.trial, table, here)
        except (Exception, SystemExit) as error:
            failures[f"timing of {title}"] = Failure.of(error)
            say(f"{title}: its step could not be timed: {failures[f'timing of {title}'].line}")
            continue
        median = table["seconds"].median()
        say(f"{title}: {1e3 * median:.3g} ms a step, load {table['load'].max():.2f}")
    return failures


def _measured(planned: PlannedTrial, registry: Registry, threads: int) -> pd.DataFrame:
    from thalweg.training.contained import contained
    from thalweg.training.steptime import step_times

    load = _load()
    with contained(threads):
        steps, seconds = step_times(planned.trial, registry)
    return pd.DataFrame({"block": range(len(seconds)), "steps": steps, "seconds": seconds, "load": max(load, _load())})


def _load() -> float:
    """The system's load average over a minute; nan where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
