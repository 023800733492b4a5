"""``thalweg leaderboard --over-all``."""

from __future__ import annotations

import math

from thalweg.benchmark import Plan
from thalweg.commands.output import errors, print_json, print_table
from thalweg.scoring.observations import Observations
from thalweg.scoring.over_all import OverAll, over_all

HEADINGS = ["rank", "optimizer", "ECDF area", "95% interval", "profile score *", "95% interval *"]


def print_over_all(plan: Plan, seen: Observations, format_: str) -> int:
    """Print the ranking over all workloads that have a target; exit code 3 where there is nothing to rank."""
    found = over_all(plan, seen)
    match format_:
        case "json":
            print_json(
                {
                    "benchmark": plan.benchmark,
                    "metric": "ecdf",
                    "workloads": found.workloads,
                    "without_target": found.without_target,
                    "incomplete": found.incomplete,
                    "rows": found.table.to_dict("records"),
                }
            )
        case "csv":
            print(found.table.to_csv(index=False), end="")  # noqa: T201
        case "markdown":
            lines = ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
            print("\n".join(lines + ["| " + " | ".join(row) + " |" for row in _rows(found)]))  # noqa: T201
            print("\n" + _about(found))  # noqa: T201
        case _:
            title = f"{plan.benchmark} over {len(found.workloads)} workloads"
            print_table(title, HEADINGS, _rows(found), [heading for heading in HEADINGS if heading != "optimizer"])
            errors().print(_about(found), markup=False)
    for optimizer, lacking in found.incomplete.items():
        errors().print(f"{optimizer} is not ranked: it has no trial on {', '.join(lacking)}", markup=False)
    if found.table.empty:
        errors().print("there is nothing to rank: no workload with a target has results", markup=False)
        return 3
    return 0


def _rows(found: OverAll) -> list[list[str]]:
    return [
        [
            f"{row['rank_low']}–{row['rank_high']}" if row["rank_low"] != row["rank_high"] else f"{row['rank']}",
            row["optimizer"],
            f"{row['ecdf']:.3f}",
            _interval(row["low"], row["high"]),
            f"{row['profile']:.3f}",
            _interval(row["profile_low"], row["profile_high"]),
        ]
        for row in found.table.to_dict("records")
    ]


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def _about(found: OverAll) -> str:
    without = f"; without a target: {', '.join(found.without_target)}" if found.without_target else ""
    return (
        "ranked by the area under the ECDF of fixed targets over shares of the budget, 0 to 1, larger is better; "
        f"* depends on who else is there (AlgoPerf's score){without}"
    )
