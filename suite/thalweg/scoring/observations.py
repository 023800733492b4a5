"""The results of a plan's trials on disk, as two tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from thalweg.benchmark_file import TUNING_SEED
from thalweg.plan import Plan
from thalweg.store.curve import CURVE_COLUMNS
from thalweg.store.stored import Stored
from thalweg.store.timings import StepTime, on_one_machine

TRIAL_COLUMNS = ["workload", "optimizer", "seed", "hash", "status", "reason", "ran_on", "state_bytes", "step_seconds"]


@dataclass(frozen=True)
class Wanted:
    """The part of the curves to read: columns, and values of ``split`` and ``metric``, by default all values."""

    columns: Sequence[str] = tuple(CURVE_COLUMNS)
    where: Mapping[str, Collection[str]] = field(default_factory=dict)


EVERYTHING = Wanted()


@dataclass
class Observations:
    """``trials``: a row for each trial (TRIAL_COLUMNS). ``curves``: the rows of their curves, with their names."""

    trials: pd.DataFrame
    curves: pd.DataFrame
    missing: int = 0
    """Trials of the plan that are not on disk."""
    beside: int = 0
    """Trials on disk that are not in the plan."""
    unreadable: list[str] = field(default_factory=list)
    """Trials of the plan whose curve cannot be read."""
    timed_on: str = ""
    """The machine on which ``step_seconds`` of the trials were timed; empty without step times."""

    @property
    def mixture(self) -> list[str]:
        """The environments of the trials, if there are several; numbers may then differ in rounding."""
        found = sorted(self.trials["ran_on"].unique())
        return found if len(found) > 1 else []


def observe(
    plan: Plan,
    stored: Stored,
    times: Mapping[str, list[StepTime]] | None = None,
    wanted: Wanted = EVERYTHING,
) -> Observations:
    """Exactly the plan's trials under the plan's names, with step times by configuration from one machine."""
    number_of = dict(zip(stored.column("hash"), stored.trials.index.tolist(), strict=True))
    hashes = [planned.trial.hash for planned in plan.trials]
    numbers = np.array([number_of.get(key, -1) for key in hashes], dtype=np.int64)
    there = numbers >= 0
    workloads = np.array([planned.workload for planned in plan.trials], dtype=object)[there]
    optimizers = np.array([planned.optimizer for planned in plan.trials], dtype=object)[there]
    found = _tables(stored, numbers[there], workloads, optimizers, times, wanted)
    found.missing = int((~there).sum())
    beside = set(hashes) | {planned.trial.hash for planned in plan.tuning}
    seeds = stored.trials["seed"].to_numpy()
    # a benchmark that tunes has trials of settings that it would not try now; they are not foreign trials
    own = seeds >= TUNING_SEED if plan.tuning else np.zeros(len(seeds), dtype=bool)
    found.beside = len({hash_ for hash_, mine in zip(stored.column("hash"), own, strict=True) if not mine} - beside)
    return found


def observe_stored(
    stored: Stored,
    times: Mapping[str, list[StepTime]] | None = None,
    wanted: Wanted = EVERYTHING,
) -> Observations:
    """All trials on disk, under the names with which they were saved."""
    workloads, optimizers = (stored.trials[name].to_numpy(dtype=object) for name in ("workload", "optimizer"))
    return _tables(stored, stored.trials.index.to_numpy(), workloads, optimizers, times, wanted)


def _tables(
    stored: Stored,
    numbers: np.ndarray[Any, Any],
    workloads: np.ndarray[Any, Any],
    optimizers: np.ndarray[Any, Any],
    times: Mapping[str, list[StepTime]] | None,
    wanted: Wanted,
) -> Observations:
    """The trials with given row numbers, under given names."""
    rows = stored.trials.loc[numbers]
    keys = rows["configuration"].tolist() if times else []
    machine, seconds = on_one_machine(times or {}, keys)
    trials = pd.DataFrame(
        {
            "workload": workloads,
            "optimizer": optimizers,
            **{name: rows[name].to_numpy() for name in TRIAL_COLUMNS[2:-1]},
            "step_seconds": [seconds.get(key, math.nan) for key in keys] if times else math.nan,
        },
        columns=TRIAL_COLUMNS,
    )
    failed = (rows["status"] == "failed").to_numpy()
    damaged = (rows["curve_error"] != "").to_numpy() & ~failed
    unreadable = [f"{row.name}: {row.curve_error}" for row in rows[damaged].itertuples(index=False)]
    with_curve = ~failed & ~damaged
    return Observations(
        trials[~damaged].reset_index(drop=True),
        _curves(stored, numbers[with_curve], trials[with_curve], wanted),
        unreadable=unreadable,
        timed_on=machine,
    )


def _curves(stored: Stored, numbers: np.ndarray[Any, Any], trials: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    """The curves of trials, with workload and optimizer (as categories) and seed."""
    names = {name: pd.Categorical(trials[name]) for name in ("workload", "optimizer")}
    parts: list[pd.DataFrame] = []
    left = np.arange(len(numbers))
    while len(left) or not parts:
        # a curve is there once, unless a plan has one trial under several names
        unique, first = np.unique(numbers[left], return_index=True)
        curves = stored.curves(wanted.columns, pd.Index(unique), wanted.where)
        place = np.zeros(int(unique.max(initial=0)) + 1, dtype=np.int64)
        place[unique] = left[first]
        rows = place[curves.pop("trial").to_numpy()]
        for name, values in names.items():
            curves[name] = pd.Categorical.from_codes(values.codes[rows], dtype=values.dtype)
        curves["seed"] = trials["seed"].to_numpy(dtype=np.int64)[rows]
        parts.append(curves)
        left = np.delete(left, first)
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
