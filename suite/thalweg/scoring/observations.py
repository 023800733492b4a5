"""What a plan's trials left on disk, as two tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from thalweg.benchmark import Plan
from thalweg.store.curve import CURVE_COLUMNS
from thalweg.store.results import StoredTrial
from thalweg.store.timings import StepTime, configuration, on_one_machine

TRIAL_COLUMNS = ["workload", "optimizer", "seed", "hash", "status", "reason", "ran_on", "state_bytes", "step_seconds"]


@dataclass
class Observations:
    """``trials``: a row a trial (TRIAL_COLUMNS). ``curves``: their curves' rows, with workload, optimizer and seed."""

    trials: pd.DataFrame
    curves: pd.DataFrame
    missing: int = 0
    """Trials of the plan that are not on disk."""
    beside: int = 0
    """Trials on disk that are not of the plan."""
    unreadable: list[str] = field(default_factory=list)
    """Trials of the plan whose curve cannot be read."""
    timed_on: str = ""
    """The machine whose step times ``step_seconds`` in trials are; empty without any."""

    @property
    def mixture(self) -> list[str]:
        """The environments that the trials ran on, when there is more than one: numbers may differ in rounding."""
        found = sorted(self.trials["ran_on"].unique())
        return found if len(found) > 1 else []


def observe(
    plan: Plan, stored: Iterable[StoredTrial], times: Mapping[str, list[StepTime]] | None = None
) -> Observations:
    """Exactly the plan's trials, under the plan's names; with step times by configuration, on one machine."""
    by_hash = {trial.document.hash: trial for trial in stored}
    named = []
    wanted = set()
    for planned in plan.trials:
        key = planned.trial.hash
        wanted.add(key)
        if key in by_hash:
            named.append((planned.workload, planned.optimizer, by_hash[key]))
    found = _tables(named, times)
    found.missing = len(plan.trials) - len(named)
    found.beside = len(by_hash.keys() - wanted)
    return found


def observe_stored(stored: Iterable[StoredTrial], times: Mapping[str, list[StepTime]] | None = None) -> Observations:
    """Whatever is on disk, under the names it was saved with."""
    return _tables([(trial.document.workload, trial.document.optimizer, trial) for trial in stored], times)


def _tables(
    named: list[tuple[str, str, StoredTrial]], times: Mapping[str, list[StepTime]] | None = None
) -> Observations:
    keys = [configuration(trial.document.trial) if times else "" for *_, trial in named]
    machine, seconds = on_one_machine(times or {}, keys)
    rows = []
    curves = []
    unreadable = []
    for (workload, optimizer, trial), key in zip(named, keys, strict=True):
        try:
            curve = trial.curve() if trial.document.status != "failed" else None
        except (OSError, ValueError) as error:  # pyarrow's errors are both
            unreadable.append(f"{trial.path.name}: {type(error).__name__}")
            continue
        document = trial.document
        names: dict[str, Any] = {"workload": workload, "optimizer": optimizer, "seed": document.trial.seed}
        shared = {"hash": document.hash, "status": document.status, "reason": document.reason}
        memory = document.summary.get("state_bytes")
        measured = {"state_bytes": memory, "step_seconds": seconds.get(key, math.nan)}
        rows.append({**names, **shared, "ran_on": _ran_on(document.environment), **measured})
        if curve is not None:
            curves.append(curve.assign(**names))
    empty = pd.DataFrame(columns=[*CURVE_COLUMNS, "workload", "optimizer", "seed"])
    return Observations(
        pd.DataFrame(rows, columns=TRIAL_COLUMNS),
        pd.concat(curves, ignore_index=True) if curves else empty,
        unreadable=unreadable,
        timed_on=machine,
    )


def _ran_on(environment: Mapping[str, Any]) -> str:
    torch = environment.get("packages", {}).get("torch", "unknown")
    threads = environment.get("threads", "?")
    where = environment.get("cpu") if environment.get("device") == "cpu" else environment.get("device")
    return f"torch {torch}, {where}, {threads} {'thread' if threads == 1 else 'threads'}"
