"""Scores over all workloads. The area under a fixed-target ECDF ranks, because it ignores the other optimizers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from thalweg.plan import Plan, pairs_of
from thalweg.scoring.critical import CriticalDifference, critical_difference, refusal
from thalweg.scoring.intervals import t_interval
from thalweg.scoring.observations import Observations
from thalweg.scoring.pooled import Pooled, pooled
from thalweg.scoring.profiles import profile_curve, profiles
from thalweg.scoring.ranks import Sample, certain, finest, rank_intervals
from thalweg.scoring.targets import targets_of

DECADES = 2
"""The ECDF covers shares of the budget from 10^-DECADES to 1, on a log scale."""
DIGITS = 12
"""Areas are rounded to this many decimals, so that sums in different orders do not break ties."""
COLUMNS = [
    "rank",
    "rank_low",
    "rank_high",
    "optimizer",
    "seeds",
    "ecdf",
    "low",
    "high",
    "profile",
    "profile_low",
    "profile_high",
]


_TIMES = ["workload", "optimizer", "seed", "target", "share", "spent", "unit"]


def runtimes(plan: Plan, seen: Observations) -> pd.DataFrame:
    """The spending of each trial at the first evaluation that reaches each target.

    The columns are workload, optimizer, seed, target (0 is the workload's own, higher numbers are easier), ``share`` of
    the trial's budget, and ``spent``, the work until then. Both are infinite where the trial never reaches the target,
    diverged or failed. ``unit`` is ``work``. Where a trial of the workload is from before work was counted, ``unit`` is
    ``examples``, and ``spent`` are the examples evaluated. Evaluations before the first step reach no target, so that a
    start that happens to be good earns nothing. Workloads without a target have no rows.
    """
    axes: dict[str, dict[str, tuple[str, float]]] = {}
    for (name, optimizer), trial in pairs_of(plan.trials).items():
        axes.setdefault(name, {})[optimizer] = trial.budget.axis
    curves = _of_targets(seen.curves, plan, {axis for of in axes.values() for axis, _ in of.values()})
    parts = []
    for name, workload in plan.workloads.items():
        of = axes.get(name, {})
        # others were added to what the benchmark asks for
        trials = seen.trials[(seen.trials["workload"] == name) & seen.trials["optimizer"].isin(list(of))]
        trials = trials.drop_duplicates(["optimizer", "seed"])
        targets, metric = targets_of(workload), workload.target_metric
        if not targets or metric is None or trials.empty:
            continue
        mine = curves[curves["workload"] == name]
        mine = mine[(mine["split"] == workload.target_split) & (mine["metric"] == metric.name) & (mine["step"] > 0)]
        numbers = _numbers(mine, trials)
        rows = mine.assign(number=numbers)[numbers >= 0].sort_values("step", kind="stable")
        share = _share(rows, of)
        unit = "examples" if rows["work"].isna().any() else "work"
        spent = rows[unit].to_numpy(dtype=float)
        for number, value in enumerate(targets):
            there = (rows["value"] >= value if metric.better == "higher" else rows["value"] <= value).to_numpy()
            # from the last row to the first, since of several values for one place the last one stays
            who = rows["number"].to_numpy()[there][::-1]
            columns = {"share": share[there][::-1], "spent": spent[there][::-1]}
            part = trials[["workload", "optimizer", "seed"]].reset_index(drop=True).assign(target=number, unit=unit)
            for column, values in columns.items():
                whole = np.full(len(trials), math.inf)
                whole[who] = values
                part[column] = whole
            parts.append(part)
    return pd.concat(parts, ignore_index=True)[_TIMES] if parts else pd.DataFrame(columns=_TIMES)


def _numbers(rows: pd.DataFrame, trials: pd.DataFrame) -> np.ndarray[Any, Any]:
    """For each row of the curves the place of its trial among ``trials``; -1 where no such trial is done."""
    seeds, seed_of = np.unique(trials["seed"].to_numpy(), return_inverse=True)
    labels = pd.Categorical(rows["optimizer"])
    label_of = labels.categories.get_indexer(pd.Index(trials["optimizer"]))
    done = (trials["status"] == "done").to_numpy() & (label_of >= 0)
    places = np.full((len(labels.categories), len(seeds)), -1)
    places[label_of[done], seed_of[done]] = np.flatnonzero(done)
    own = rows["seed"].to_numpy()
    at = np.minimum(np.searchsorted(seeds, own), len(seeds) - 1)
    return np.where(seeds[at] == own, places[labels.codes, at], -1)


def _of_targets(curves: pd.DataFrame, plan: Plan, axes: set[str]) -> pd.DataFrame:
    """The rows and columns that targets need, since all rows are too many to search for each workload."""
    there = [each for each in plan.workloads.values() if each.target_metric is not None]
    wanted = curves["metric"].isin([each.target_metric.name for each in there if each.target_metric])
    wanted &= curves["split"].isin([each.target_split for each in there])
    costs = ["examples", "work"]
    columns = dict.fromkeys(["workload", "optimizer", "seed", "split", "metric", "step", *costs, "value", *axes])
    return curves.loc[wanted, list(columns)]


def _share(rows: pd.DataFrame, axes: Mapping[str, tuple[str, float]]) -> np.ndarray[Any, Any]:
    """The share of the budget that is spent at each row of a workload's curves."""
    share = np.full(len(rows), math.nan)
    for axis, whole in {*axes.values()}:
        chosen = rows["optimizer"].isin([name for name, of in axes.items() if of == (axis, whole)]).to_numpy()
        share[chosen] = rows[axis].to_numpy(dtype=float)[chosen] / whole
    return share


def credit(share: Any) -> Any:
    """The area under the step of one trial and target: log10(1 / share) / DECADES, at most 1, and 0 if never reached.

    >>> credit(np.array([1.0, 0.1, 0.001, np.inf])).tolist()
    [0.0, 0.5, 1.0, 0.0]
    """
    with np.errstate(divide="ignore"):
        return np.clip(-np.log10(share) / DECADES, 0.0, 1.0) + 0.0  # no -0.0


def areas(times: pd.DataFrame) -> pd.Series:
    """The mean ``credit`` over the targets of each trial, by optimizer, seed and workload: a score from 0 to 1."""
    credits_ = times.assign(credit=credit(times["share"].to_numpy()))
    return credits_.groupby(["optimizer", "seed", "workload"])["credit"].mean().round(DIGITS)


def ecdf_scores(times: pd.DataFrame) -> pd.DataFrame:
    """The area under each optimizer's ECDF with a 95% t-interval over seeds: columns seeds, ecdf, low and high.

    The ECDF (Hansen et al. 2021, *COCO*; Moré & Wild 2009) is the share of (workload, target) pairs that are reached
    within a share of the budget, on a log scale. Its area is the mean of ``credit`` over targets, then over workloads,
    so that each workload has equal weight. The area does not depend on other optimizers. Each seed is a repetition of
    the whole benchmark and gives one area.
    """
    if times.empty:
        return pd.DataFrame(columns=["seeds", "ecdf", "low", "high"])
    rows = {}
    each = areas(times).groupby(level=["optimizer", "seed"]).mean()
    for optimizer, values in each.groupby(level="optimizer"):
        estimate = t_interval(values.tolist())
        rows[optimizer] = {
            "seeds": len(values),
            "ecdf": round(estimate.value, DIGITS),
            "low": max(estimate.low, 0.0),
            "high": min(estimate.high, 1.0),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _better(times: pd.DataFrame, optimizers: Sequence[str]) -> np.ndarray[Any, Any]:
    """Whether optimizer i has certainly a larger area than optimizer j, as a matrix (i, j): see ``ranks.certain``."""
    each = areas(times).groupby(level=["optimizer", "seed"]).mean()
    by_name = {str(name): -values.to_numpy() for name, values in each.groupby(level="optimizer")}
    step = finest(each.to_numpy(dtype=float).round(DIGITS))
    return certain([Sample(by_name[name], resolution=step) for name in optimizers])


def ecdf_curve(times: pd.DataFrame, points: int = 101) -> pd.DataFrame:
    """The ECDF of each optimizer: columns optimizer, share (of the budget), reached (share of targets)."""
    at = np.logspace(-DECADES, 0, points)
    parts = []
    for optimizer, rows in times.groupby("optimizer"):
        weights = _weights(rows)
        reached = [(weights * (rows["share"].to_numpy() <= x * (1 + 1e-12))).sum() for x in at]
        parts.append(pd.DataFrame({"optimizer": optimizer, "share": at, "reached": reached}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["optimizer", "share", "reached"])


def _weights(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Weights that are equal for all workloads, and within a workload for its targets and seeds."""
    counts = rows.groupby("workload")["share"].transform("size").to_numpy()
    return np.asarray(1.0 / counts / rows["workload"].nunique())


@dataclass
class OverAll:
    """A ranking of optimizers over all workloads."""

    table: pd.DataFrame
    """Rows with ``COLUMNS``, best first by the area under the ECDF. Ranks are intervals as in a leaderboard.

    ``profile_low`` and ``profile_high`` are nan: see ``profiles.profiles``.
    """
    curve: pd.DataFrame
    """See ``ecdf_curve``."""
    profiles: pd.DataFrame
    """See ``profiles.profile_curve``."""
    workloads: list[str]
    """The workloads that have a target."""
    without_target: list[str]
    own_target_only: list[str]
    """The workloads that have no easier targets, because no starting level is declared or it meets the target."""
    incomplete: dict[str, list[str]]
    """Optimizers that are not ranked because no seed has a trial on every workload, with the workloads they lack."""
    partial: int
    """The number of seeds of ranked optimizers that do not count, because they lack a workload."""
    pooled: Pooled
    """Interquartile means and probabilities of improvement of single trials' areas."""
    critical: CriticalDifference | None
    """The critical difference of the areas, if there are enough workloads."""
    no_critical: str
    """Why there is no critical difference."""
    without_work: list[str]
    """The workloads on which the profile's cost are examples, because a trial is from before work was counted."""


def _lacking(rows: pd.DataFrame, workloads: list[str]) -> list[str]:
    """The workloads that an optimizer lacks: those with fewer seeds than others, or all if its seeds differ."""
    seeds = rows.groupby("workload")["seed"].nunique()
    most = int(seeds.max()) if len(seeds) else 1
    return [name for name in workloads if seeds.get(name, 0) < most] or workloads


def over_all(plan: Plan, seen: Observations) -> OverAll:
    """Rank the optimizers by the seeds that have a trial on every workload with a target."""
    with_target = [name for name, workload in plan.workloads.items() if targets_of(workload)]
    times = runtimes(plan, seen)
    there = times.groupby(["optimizer", "seed"])["workload"].nunique()
    # a seed that lacks a workload, which may be a hard one, would have too good an area
    whole = there[there == len(with_target)]
    ranked = set(whole.index.get_level_values("optimizer"))
    incomplete = {
        name: _lacking(times[times["optimizer"] == name], with_target)
        for name in dict.fromkeys(optimizer for _, optimizer in pairs_of(plan.trials))
        if with_target and name not in ranked
    }
    partial = int(there[there < len(with_target)].index.get_level_values("optimizer").isin(list(ranked)).sum())
    times = times[pd.MultiIndex.from_frame(times[["optimizer", "seed"]]).isin(whole.index)]
    table = ecdf_scores(times).rename_axis("optimizer").reset_index()
    found = profiles(times, table["optimizer"].tolist())
    table["profile"] = [found.get(optimizer, math.nan) for optimizer in table["optimizer"]]
    # readers of JSON and CSV expect the two; docs/scoring.md says why there is no interval
    table["profile_low"] = table["profile_high"] = math.nan
    table = table.sort_values(["ecdf", "optimizer"], ascending=[False, True], ignore_index=True)
    table["rank"] = table["ecdf"].rank(ascending=False, method="min").astype(int)
    table["rank_low"], table["rank_high"] = rank_intervals(_better(times, table["optimizer"].tolist()))
    without = [name for name in plan.workloads if name not in with_target]
    scores = areas(times)
    by_workload = scores.rename("area").reset_index().pivot_table("area", "workload", "optimizer").round(DIGITS)
    no_critical = refusal(len(with_target), len(table))
    return OverAll(
        table[COLUMNS],
        ecdf_curve(times),
        profile_curve(times, table["optimizer"].tolist()),
        with_target,
        without,
        [name for name in with_target if len(targets_of(plan.workloads[name])) == 1],
        incomplete,
        partial,
        pooled(scores),
        None if no_critical else critical_difference(by_workload),
        no_critical,
        sorted(times.loc[times["unit"] == "examples", "workload"].unique()),
    )
