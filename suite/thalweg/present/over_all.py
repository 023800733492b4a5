"""The ranking over all workloads: its table, its charts, and the sentences about them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from thalweg.present.charts.critical import critical_chart
from thalweg.present.charts.improvement import improvement_chart
from thalweg.present.charts.over_all import ecdf_chart, profile_chart
from thalweg.present.numbers import decimals, interval, ranks
from thalweg.present.picture import Picture
from thalweg.present.sentences import OPEN_RANKS, capital, count, few
from thalweg.present.table import Column, Table, table
from thalweg.present.view import IN_BENCHMARK, View
from thalweg.scoring.critical import CriticalDifference
from thalweg.scoring.over_all import OverAll
from thalweg.scoring.pooled import too_few

_AREA, _CHANCE = decimals(3), decimals(2)


def standings(found: OverAll) -> Table:
    """The ranking; a star marks columns that depend on who else is there."""
    columns = [
        Column(
            "rank",
            "rank",
            lambda row: ranks(row["rank_low"], row["rank_high"]),
            help=OPEN_RANKS,
            width=50,
            pinned=True,
        ),
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column("seeds", "seeds", lambda row: row["seeds"]),
        Column("ecdf", "ECDF area", lambda row: row["ecdf"], _AREA),
        Column("interval", "95% interval", lambda row: interval(row["low"], row["high"], _AREA)),
        Column("profile", "profile score *", lambda row: row["profile"], _AREA),
    ]
    return table(columns, found.table)


def pooled_means(found: OverAll) -> Table:
    """The interquartile mean of each optimizer's trials, and the chance of a trial to beat the best optimizer's."""
    means, pairs = found.pooled.means, found.pooled.improvement
    best = means["optimizer"].iloc[0]
    over = pairs[pairs["over"] == best].set_index("optimizer")[["probability", "low", "high"]]
    over.columns = pd.Index(["chance", "chance_low", "chance_high"])
    columns = [
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column("trials", "trials", lambda row: row["trials"]),
        Column("iqm", "interquartile mean", lambda row: row["iqm"], _AREA),
        Column("interval", "95% interval", lambda row: interval(row["low"], row["high"], _AREA)),
        Column("chance", f"P(better than {best})", lambda row: row["chance"], _CHANCE),
        Column("chance_interval", "95% interval", lambda row: interval(row["chance_low"], row["chance_high"], _CHANCE)),
    ]
    return table(columns, means.join(over, on="optimizer"))


def mean_ranks(critical: CriticalDifference) -> Table:
    """The mean rank of each optimizer over the workloads."""
    columns = [
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column("rank", "mean rank", lambda row: row["rank"], _CHANCE),
    ]
    rows = pd.DataFrame({"optimizer": [str(name) for name in critical.ranks.index], "rank": critical.ranks.to_numpy()})
    return table(columns, rows)


def introduction(found: OverAll) -> str:
    """A sentence on what ranks the optimizers."""
    return (
        f"Ranked by the area under each line of the first chart, over the {len(found.workloads)} workloads that have a "
        "target. The area of an optimizer does not depend on the others."
    )


def explanation(found: OverAll) -> list[str]:
    """Sentences for the command line, which has no charts: what the numbers are, and what the table lacks."""
    without = f"; workloads without a target: {', '.join(found.without_target)}" if found.without_target else ""
    ranking = (
        "ranked by the area under the ECDF of fixed targets over shares of the budget, 0 to 1, larger is better; "
        f"* depends on who else is there (AlgoPerf's score, of {_cost(found)}){without}"
    )
    test = critical_difference(found.critical) if found.critical else found.no_critical
    return [ranking, *_own_targets(found), *without_work(found), *too_few(found.pooled), test]


def _own_targets(found: OverAll) -> list[str]:
    """A sentence on the workloads without easier targets; empty where there are none."""
    if not found.own_target_only:
        return []
    names = ", ".join(found.own_target_only)
    return [f"without easier targets, since no starting level is declared that is worse than the target: {names}"]


def without_work(found: OverAll) -> list[str]:
    """A sentence on workloads whose profile score has another cost; nothing where there are none."""
    if not found.without_work:
        return []
    all_ = len(found.without_work) == len(found.workloads)
    where = "on all workloads" if all_ else f"on {', '.join(found.without_work)}"
    why = "some results there are from before work was counted, and 'thalweg run --fresh' counts it"
    return [f"the profile score's cost is examples evaluated, and not work, {where}: {why}"]


def pictures(found: OverAll, among: Sequence[str]) -> list[Picture]:
    """Every chart of the ranking."""
    shown = [
        Picture(
            ecdf_chart(found.curve, among),
            "The share of targets (each workload's own and easier ones) that are reached within a share of the budget.",
        ),
        Picture(
            profile_chart(found.profiles, among),
            "Performance profiles (*): the share of workloads on which an optimizer reaches the target with at most "
            f"that multiple of the {_cost(found)} of the cheapest optimizer here. The profile score is the area "
            "under a line. AlgoPerf defines the score for time. The score depends on who else is there.",
        ),
    ]
    means = found.pooled.means
    if len(means) > 1:
        chart = improvement_chart(found.pooled.improvement, means["optimizer"].tolist())
        caption = (
            f"Areas of single trials, pooled, in the order of interquartile means: {interquartile_means(means)}. "
            "Bold: the 95% interval does not hold one half. Intervals are from a stratified bootstrap over seeds."
        )
        shown.append(Picture(chart, caption))
    if found.critical is not None:
        shown.append(Picture(critical_chart(found.critical, among), critical_difference(found.critical)))
    return shown


def _cost(found: OverAll) -> str:
    if not found.without_work:
        return "work"
    return "examples evaluated" if len(found.without_work) == len(found.workloads) else "work or examples evaluated"


def left_out(found: OverAll, view: View) -> str:
    """Sentences on optimizers and seeds that the ranking leaves out, and why; empty where it leaves out nothing."""
    lines = [f"not ranked: {name}, which has no trial on {', '.join(some)}" for name, some in found.incomplete.items()]
    if found.partial:
        lines.append(f"{count(found.partial, 'seed')} that lack a workload do not count")
    trials = view.seen.trials
    inside = trials["in_benchmark"] == IN_BENCHMARK
    if added := sorted({*trials.loc[~inside, "optimizer"]} - {*trials.loc[inside, "optimizer"]}):
        lines.append(f"added to the benchmark, and ranked on single workloads only: {', '.join(few(added))}")
    if len(found.table):
        more = [*_own_targets(found), *without_work(found), *too_few(found.pooled)]
        lines += [*more, *([found.no_critical] if found.no_critical else [])]
    return " ".join(f"{capital(line)}." for line in lines)


def interquartile_means(means: pd.DataFrame) -> str:
    """``"adam 0.412 (0.391 to 0.433), sgd ..."``; see ``thalweg.scoring.pooled.Pooled.means``."""
    return ", ".join(
        f"{row['optimizer']} {_AREA.text(row['iqm'])} ({interval(row['low'], row['high'], _AREA)})"
        for row in means.to_dict("records")
    )


def critical_difference(critical: CriticalDifference) -> str:
    """The caption of a critical-difference diagram."""
    groups = "; ".join(", ".join(group) for group in critical.groups) or "none"
    return (
        f"Mean ranks over {critical.workloads} workloads that differ by less than {critical.difference:.2f} are not "
        f"told apart (Nemenyi, 5%; Friedman's p {critical.p:.2g}): {groups}. Ranks depend on who else is there."
    )
