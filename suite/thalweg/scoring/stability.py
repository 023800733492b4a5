"""Stability: the share of tried settings and seeds that reach the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from thalweg.plan import Plan, PlannedTrial
from thalweg.scoring.intervals import Estimate
from thalweg.scoring.leaderboard import COLUMNS, ranked
from thalweg.scoring.measures import STABILITY, to_target, wanted_for
from thalweg.scoring.observations import Observations, observe
from thalweg.scoring.ranks import p_of_lost, rejected
from thalweg.store.stored import Stored
from thalweg.tuning.plan import TunedPlan


def share_interval(successes: int, trials: int, level: float = 0.95) -> Estimate:
    """A share with its exact interval (Clopper & Pearson 1934): quantiles of Beta(k, n - k + 1) and Beta(k + 1, n - k).

    >>> [round(x, 3) for x in share_interval(8, 10)]
    [0.8, 0.444, 0.975]
    """
    if trials == 0:
        return Estimate(math.nan, math.nan, math.nan)
    k, n, tail = successes, trials, (1 - level) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Estimate(k / n, low, high)


def stability(plan: TunedPlan, stored: Stored) -> tuple[pd.DataFrame, Observations]:
    """A leaderboard (``COLUMNS``) by the share of trials that reach the target, and the observations behind it.

    Workloads without a target have no rows. If the benchmark tunes, the trials are those of every setting that was
    tried; all optimizers have equally many settings in equally wide ranges. Otherwise the trials are the final seeds.
    ``seeds`` is the number of trials. ``reached`` counts the trials that finished and reached the target; trials that
    diverged or failed do not count. The interval is Clopper and Pearson's, and Fisher's exact test on pairs gives the
    ranks (see ``ranks``). Both take trials for independent draws, which settings in a fixed range are not strictly.
    """
    planned = _tried(plan)
    # each trial gets a name, because several settings share seeds
    numbered = [replace(one, optimizer=str(number)) for number, one in enumerate(planned)]
    wanted = wanted_for(plan.workloads, STABILITY.name)
    seen = observe(Plan(plan.benchmark, plan.workloads, numbered, [*plan.trials, *plan.tuning]), stored, None, wanted)
    labels = np.array([one.optimizer for one in planned], dtype=object)
    trials = seen.trials.assign(label=labels[seen.trials["optimizer"].astype(int)])
    parts = []
    for name, workload in plan.workloads.items():
        mine = trials[trials["workload"] == name]
        if workload.target is None or mine.empty:
            continue
        there = to_target(seen.curves[seen.curves["workload"] == name], workload)
        mine = mine.assign(reached=mine["optimizer"].isin(list(there)) & (mine["status"] == "done"))
        rows = []
        for label, group in mine.groupby("label"):
            n, reached = len(group), int(group["reached"].sum())
            told = {"workload": name, "metric": STABILITY.name, "optimizer": label, "seeds": n, "reached": reached}
            lost = {status: int((group["status"] == status).sum()) for status in ("diverged", "failed")}
            rows.append(told | lost | share_interval(reached, n)._asdict())
        table = pd.DataFrame(rows, columns=COLUMNS)
        seeds = table["seeds"].to_numpy(dtype=float)
        better = rejected(p_of_lost(seeds - table["reached"].to_numpy(dtype=float), seeds))
        parts.append(ranked(table, STABILITY, better))
    return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)), seen


def _tried(plan: TunedPlan) -> Sequence[PlannedTrial]:
    tried = {hash_ for outcome in plan.outcomes for one in outcome.counted for hash_ in one.hashes}
    return [planned for planned in plan.tuning if planned.trial.hash in tried] if tried else plan.trials
