"""``thalweg leaderboard --over-all``."""

from __future__ import annotations

import math
from typing import Any

from thalweg.benchmark import Plan
from thalweg.console import console, errors, markdown_table, print_json, print_lines, print_table
from thalweg.present.sentences import ranks, told
from thalweg.scoring.observations import Observations
from thalweg.scoring.over_all import OverAll, over_all
from thalweg.scoring.pooled import too_few
from thalweg.shown import markdown
from thalweg.store.sheets import to_csv

HEADINGS = ["rank", "optimizer", "seeds", "ECDF area", "95% interval", "profile score *", "95% interval *"]
POOLED = ["optimizer", "trials", "interquartile mean", "95% interval"]


def print_over_all(plan: Plan, seen: Observations, format_: str, raw: bool = False) -> int:
    """Print the ranking over all workloads that have a target; exit code 3 where there is nothing to rank."""
    if seen.trials.empty:
        errors().print(f"no results of {plan.benchmark!r} there", markup=False)
        return 3
    found = over_all(plan, seen)
    match format_:
        case "json":
            print_json(_document(plan, found))
        case "csv":
            print(to_csv(found.table, raw=raw), end="")  # noqa: T201
        case "markdown":
            tables = _tables(plan, found)
            parts = [f"**{markdown(title)}**\n\n{markdown_table(headings, rows)}" for title, headings, rows in tables]
            print_lines("\n\n".join([*parts, *map(markdown, _about(found))]))
        case _:
            for title, headings, rows in _tables(plan, found):
                print_table(title, headings, rows, [heading for heading in headings if heading != "optimizer"])
                console().print()
            for line in _about(found):
                errors().print(line, markup=False)
    for optimizer, lacking in found.incomplete.items():
        errors().print(f"{optimizer} is not ranked: it has no trial on {', '.join(lacking)}", markup=False)
    if found.partial:
        errors().print(f"{found.partial} seeds that lack a workload do not count", markup=False)
    if found.table.empty:
        reason = "no workload has a target" if not found.workloads else "no optimizer has a seed on every workload"
        errors().print(f"there is nothing to rank: {reason}", markup=False)
        return 3
    return 0


def _document(plan: Plan, found: OverAll) -> dict[str, Any]:
    critical = found.critical
    return {
        "benchmark": plan.benchmark,
        "metric": "ecdf",
        "workloads": found.workloads,
        "without_target": found.without_target,
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
    }


def _tables(plan: Plan, found: OverAll) -> list[tuple[str, list[str], list[list[str]]]]:
    """Titles, headings and rows of what there is to tell."""
    tables = [(f"{plan.benchmark} over {len(found.workloads)} workloads", HEADINGS, rows_of(found))]
    means, pairs = found.pooled.means, found.pooled.improvement
    if len(means):
        best = means["optimizer"].iloc[0]
        over = pairs[pairs["over"] == best].set_index("optimizer")
        rows = []
        for row in means.to_dict("records"):
            name = row["optimizer"]
            chance = ["–", "–"]
            if name in over.index:
                pair = over.loc[name]
                chance = [f"{pair['probability']:.2f}", _interval(pair["low"], pair["high"], 2)]
            rows.append([name, str(row["trials"]), f"{row['iqm']:.3f}", _interval(row["low"], row["high"]), *chance])
        tables.append(("areas of single trials, pooled", [*POOLED, f"P(better than {best})", "95% interval"], rows))
    if found.critical:
        rows = [[str(name), f"{rank:.2f}"] for name, rank in found.critical.ranks.items()]
        tables.append(("mean ranks over workloads *", ["optimizer", "mean rank"], rows))
    return tables


def rows_of(found: OverAll) -> list[list[str]]:
    """The cells below HEADINGS."""
    return [
        [
            ranks(row["rank_low"], row["rank_high"]),
            row["optimizer"],
            str(row["seeds"]),
            f"{row['ecdf']:.3f}",
            _interval(row["low"], row["high"]),
            f"{row['profile']:.3f}",
            _interval(row["profile_low"], row["profile_high"]),
        ]
        for row in found.table.to_dict("records")
    ]


def _interval(low: float, high: float, digits: int = 3) -> str:
    return "–" if math.isnan(low) else f"{low:.{digits}f} to {high:.{digits}f}"


def _about(found: OverAll) -> list[str]:
    without = f"; without a target: {', '.join(found.without_target)}" if found.without_target else ""
    first = (
        "ranked by the area under the ECDF of fixed targets over shares of the budget, 0 to 1, larger is better; "
        f"* depends on who else is there (AlgoPerf's score, of examples evaluated){without}"
    )
    lines = [first, *too_few(found.pooled)]
    critical = found.critical
    if critical is None:
        lines.append(found.no_critical)
    else:
        lines.append(told(critical))
    return lines
