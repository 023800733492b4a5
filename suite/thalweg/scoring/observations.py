"""The results of a plan's trials on disk, as two tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from thalweg.benchmark_file import TUNING_SEED
from thalweg.plan import Choice, Plan, PlannedTrial, PlannedTrials
from thalweg.scoring.locate import Located, locate
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


@dataclass(frozen=True)
class NamedCurves:
    """The curves of trials under given names. Any part of them can be read, since all of them may be very many rows."""

    stored: Stored
    numbers: np.ndarray[Any, Any]
    """The numbers of the trials in ``stored``."""
    trials: pd.DataFrame
    """Columns workload, optimizer and seed."""

    def read(self, wanted: Wanted = EVERYTHING, **names: str | int) -> pd.DataFrame:
        """The wanted rows, with workload and optimizer (as categories) and seed.

        ``names`` may give the only workload, optimizer or seed that is wanted.
        """
        numbers, trials = self.numbers, self.trials
        for name, value in names.items():
            mask = (trials[name] == value).to_numpy()
            numbers, trials = numbers[mask], trials[mask]
        return _curves(self.stored, numbers, trials, wanted)


@dataclass
class Observations:
    """``trials``: a row for each trial (TRIAL_COLUMNS). ``curves``: the wanted rows of their curves, with names."""

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
    source: NamedCurves | None = None
    """Where ``curves`` were read; None for tables that were made otherwise."""
    choice: Mapping[tuple[str, str], Choice] = field(default_factory=dict)
    """What the choice of a setting adds to the variance of a mean, by workload and optimizer."""

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
    located: Located | None = None,
) -> Observations:
    """Exactly the plan's trials under the plan's names, with step times by configuration from one machine.

    ``located`` says where the plan's trials are on disk, where that is known already.
    """
    located = located or locate(plan.trials, stored)
    there = located.numbers >= 0
    workloads, optimizers = _names(plan.trials)
    found = _tables(stored, located.numbers[there], workloads[there], optimizers[there], times, wanted)
    found.missing = int((~there).sum())
    found.choice = plan.choice
    others = ~located.inside
    if plan.tuning:
        # a benchmark that tunes has trials of settings that it would not try now; they are not foreign trials
        others &= stored.trials["seed"].to_numpy() < TUNING_SEED
    found.beside = len(set(stored.trials["hash"][others]) - {planned.trial.hash for planned in plan.tuning})
    return found


def _names(trials: Sequence[PlannedTrial]) -> tuple[Any, Any]:
    """The workload and the optimizer of each planned trial."""
    if isinstance(trials, PlannedTrials):
        counts = [len(group.seeds) for group in trials.groups]
        names = [(group.workload, group.optimizer) for group in trials.groups]
    else:
        counts = [1] * len(trials)
        names = [(planned.workload, planned.optimizer) for planned in trials]
    # few different texts: to make an array of 100,000 texts takes longer than to repeat the few
    places = np.arange(len(names)).repeat(counts)
    workloads, optimizers = (pd.array([name[i] for name in names], dtype="str").take(places) for i in (0, 1))
    return workloads, optimizers


def observe_stored(
    stored: Stored,
    times: Mapping[str, list[StepTime]] | None = None,
    wanted: Wanted = EVERYTHING,
) -> Observations:
    """All trials on disk, under the names with which they were saved."""
    workloads, optimizers = (stored.trials[name].array for name in ("workload", "optimizer"))
    return _tables(stored, stored.trials.index.to_numpy(), workloads, optimizers, times, wanted)


def _tables(
    stored: Stored,
    numbers: np.ndarray[Any, Any],
    workloads: Any,
    optimizers: Any,
    times: Mapping[str, list[StepTime]] | None,
    wanted: Wanted,
) -> Observations:
    """The trials with given row numbers, under given names."""
    rows = stored.trials[["name", "configuration", "curve_error", *TRIAL_COLUMNS[2:-1]]].loc[numbers]
    keys = rows["configuration"].tolist() if times else []
    machine, seconds = on_one_machine(times or {}, keys)
    trials = pd.DataFrame(
        {
            "workload": workloads,
            "optimizer": optimizers,
            **{name: rows[name].array for name in TRIAL_COLUMNS[2:-1]},
            "step_seconds": [seconds.get(key, math.nan) for key in keys] if times else math.nan,
        },
        columns=TRIAL_COLUMNS,
    )
    failed = (rows["status"] == "failed").to_numpy()
    damaged = (rows["curve_error"] != "").to_numpy() & ~failed
    unreadable = [f"{row.name}: {row.curve_error}" for row in rows[damaged].itertuples(index=False)]
    with_curve = ~failed & ~damaged
    source = NamedCurves(stored, numbers[with_curve], trials.loc[with_curve, ["workload", "optimizer", "seed"]])
    return Observations(
        trials[~damaged].reset_index(drop=True),
        source.read(wanted),
        unreadable=unreadable,
        timed_on=machine,
        source=source,
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
