"""``thalweg leaderboard --over-all``."""

from __future__ import annotations

from typing import Any

from thalweg.console import console, errors, print_json, print_lines, print_table, print_text
from thalweg.exit_codes import ExitCode
from thalweg.plan import Plan
from thalweg.present import over_all, sentences
from thalweg.present.table import Table
from thalweg.scoring.observations import Observations
from thalweg.scoring.over_all import OverAll
from thalweg.scoring.over_all import over_all as rank
from thalweg.shown import markdown
from thalweg.store.sheets import to_csv


def print_over_all(plan: Plan, seen: Observations, format_: str, raw: bool) -> ExitCode:
    """Print the ranking over all workloads that have a target; ``NOTHING`` where there is nothing to rank."""
    if seen.trials.empty:
        errors().print(f"no results of {plan.benchmark!r} there", markup=False)
        return ExitCode.NOTHING
    found = rank(plan, seen)
    match format_:
        case "json":
            print_json(_document(plan, found))
        case "csv":
            print_text(to_csv(found.table, raw=raw))
        case _ if found.table.empty:
            pass  # the reason follows
        case "markdown":
            parts = [f"**{markdown(title)}**\n\n{table.markdown()}" for title, table in _tables(plan, found)]
            print_lines("\n\n".join([*parts, *map(markdown, over_all.explanation(found))]))
        case _:
            for title, table in _tables(plan, found):
                print_table(title, table.headings, table.cells(), table.right)
                console().print()
            for line in over_all.explanation(found):
                errors().print(line, markup=False)
    for optimizer, lacking in found.incomplete.items():
        errors().print(f"{optimizer} is not ranked: it has no trial on {', '.join(lacking)}", markup=False)
    if found.partial:
        errors().print(f"{sentences.count(found.partial, 'seed')} that lack a workload do not count", markup=False)
    if found.table.empty:
        reason = "no workload has a target" if not found.workloads else "no optimizer has a seed on every workload"
        errors().print(f"nothing can be ranked: {reason}", markup=False)
        return ExitCode.NOTHING
    return ExitCode.DONE


def _document(plan: Plan, found: OverAll) -> dict[str, Any]:
    critical = found.critical
    return {
        "benchmark": plan.benchmark,
        "metric": "ecdf",
        "workloads": found.workloads,
        "without_target": found.without_target,
        "own_target_only": found.own_target_only,
        "incomplete": found.incomplete,
        "rows": found.table.to_dict("records"),
        "interquartile_means": found.pooled.means.to_dict("records"),
        "improvement": found.pooled.improvement.to_dict("records"),
        "too_few_trials": found.pooled.refused,
        "critical_difference": {
            "mean_ranks": critical.ranks.to_dict(),
            "difference": critical.difference,
            "friedman_p": critical.p,
            "groups": critical.groups,
        }
        if critical
        else None,
        "no_critical_difference": found.no_critical,
        "without_work": found.without_work,
    }


def _tables(plan: Plan, found: OverAll) -> list[tuple[str, Table]]:
    """Every table of the ranking, with its title."""
    tables = [(f"{plan.benchmark} over {len(found.workloads)} workloads", over_all.standings(found))]
    if len(found.pooled.means):
        tables.append(("areas of single trials, pooled", over_all.pooled_means(found)))
    if found.critical:
        tables.append(("mean ranks over workloads *", over_all.mean_ranks(found.critical)))
    return tables
