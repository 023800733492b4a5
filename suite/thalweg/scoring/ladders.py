"""Ladders: tasks in levels of difficulty, scored by the highest level that an optimizer passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from thalweg.plan import Plan, PlannedTrial, Workload
from thalweg.scoring.measures import STABILITY, to_target, wanted_for
from thalweg.scoring.observations import observe
from thalweg.store.stored import Stored
from thalweg.tuning.outcome import Tried
from thalweg.tuning.plan import TunedPlan

COLUMNS = ["task", "optimizer", "level", "levels", "tries", "reached", "seeds", "missing", "next", "next_reached"]
"""The columns of ``climb``."""


def climb(plan: TunedPlan, stored: Stored, ladders: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row for each task and optimizer: the highest level passed, and the tries that it took.

    A level is passed if more than half of the seeds that count reach the workload's target. ``level`` is the number of
    levels passed from the first one up, up to the first that is not passed; 0 if the first is not. ``tries`` is the
    place, from 1, of the first setting of the tuning sequence at that level of which more than half of the tuning seeds
    reach the target. It is 0 where no setting did, and 1 in a benchmark that does not tune. ``reached`` of ``seeds``
    reach the target at that level, and ``next_reached`` at the level ``next`` that was not passed (empty at the top). A
    trial that diverged or failed does not reach. ``missing`` says that trials of the next level are not there yet, so
    that the level may be higher.

    Args:
        plan: the plan, with tuning.
        stored: the results on disk.
        ladders: by task its workloads, the easiest first.
    """
    final = _reached(plan, stored, plan.trials)
    search = _reached(plan, stored, plan.tuning)
    tried = {(one.workload.name, one.optimizer): one.tried for one in plan.outcomes}
    seeds: dict[tuple[str, str], list[str]] = {}
    for planned in plan.trials:
        seeds.setdefault((planned.workload, planned.optimizer), []).append(planned.trial.hash)
    optimizers = list(dict.fromkeys(optimizer for _, optimizer in [*seeds, *tried]))
    rows = []
    for task, workloads in ladders.items():
        for optimizer in optimizers:
            mine = [seeds.get((workload, optimizer), []) for workload in workloads]
            found = [[final[hash_] for hash_ in hashes if hash_ in final] for hashes in mine]
            passed = [2 * sum(each) > len(hashes) > 0 for each, hashes in zip(found, mine, strict=True)]
            level = passed.index(False) if False in passed else len(passed)
            at = max(level - 1, 0)
            above = level if level < len(workloads) else None
            rows.append(
                {
                    "task": task,
                    "optimizer": optimizer,
                    "level": level,
                    "levels": len(workloads),
                    "tries": _tries(tried.get((workloads[at], optimizer)), search) if level else 0,
                    "reached": sum(found[at]) if level else 0,
                    "seeds": len(mine[at]),
                    "missing": above is not None and len(found[above]) < max(len(mine[above]), 1),
                    "next": workloads[above] if above is not None else "",
                    "next_reached": sum(found[above]) if above is not None else 0,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _tries(tried: Sequence[Tried] | None, search: Mapping[str, bool]) -> int:
    """The place of the first setting that reaches the target; 0 if none does, 1 without tuning."""
    if tried is None:
        return 1
    for number, one in enumerate(tried, 1):
        if 2 * sum(search.get(hash_, False) for hash_ in one.hashes) > len(one.hashes):
            return number
    return 0


def _reached(plan: Plan, stored: Stored, planned: Sequence[PlannedTrial]) -> dict[str, bool]:
    """By hash whether a trial finished and reached its workload's target; only trials that are on disk."""
    each = list({one.trial.hash: one for one in planned}.values())
    numbered = [replace(one, optimizer=str(number)) for number, one in enumerate(each)]
    wanted = wanted_for(plan.workloads, STABILITY.name)
    seen = observe(Plan(plan.benchmark, plan.workloads, numbered, []), stored, None, wanted)
    trials = seen.trials
    found = {each[int(number)].trial.hash: False for number in trials["optimizer"]}
    for name, workload in plan.workloads.items():
        there = _there(seen.curves[seen.curves["workload"] == name], workload)
        done = trials[(trials["workload"] == name) & (trials["status"] == "done")]
        found |= {each[int(number)].trial.hash: number in there for number in done["optimizer"]}
    return found


def _there(curves: pd.DataFrame, workload: Workload) -> set[str]:
    return set(to_target(curves, workload)) if workload.target is not None else set()
