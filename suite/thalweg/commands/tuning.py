"""``thalweg tuning``."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from thalweg.benchmark import load_benchmark
from thalweg.commands.output import errors, number, print_json, print_table, warn_of_failures, warn_of_unreadable
from thalweg.errors import UserError
from thalweg.registry import load_registry
from thalweg.scoring.tuning import best_settings, by_budget, effectless, remark, shown_setting
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root
from thalweg.tuning.plan import plan_of


def tuning_command(name: str, results: Path | None, plugin_files: list[Path], as_json: bool) -> int:
    """Print the best settings and what finding them took; exit code 3 when none is known."""
    registry = load_registry(plugin_files)
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    benchmark = load_benchmark(name, registry)
    if benchmark.spec.tuning is None:
        raise UserError(f"{benchmark.path.name}: has no [tuning]: its settings are those of the file")
    root = results_root(results)
    stored = read_stored(BenchmarkResults(root, benchmark.name))
    warn_of_unreadable(stored.unreadable)
    benchmark = replace(benchmark, files=stored.files)
    plan = plan_of(benchmark, registry, Selection(device=stored.devices[0], stacks=stored.way()), stored)
    best = best_settings(plan)
    budgets = by_budget(plan, stored)
    known = bool(((best["setting"] != "") | (best["without_effect"] != "")).any())
    if as_json:
        print_json(
            {
                "benchmark": plan.benchmark,
                "settled": plan.settled,
                "extended": plan.extended,
                "best": best.to_dict("records"),
                "tried": plan.tried.to_dict("records"),
                "by_budget": budgets.to_dict("records"),
            }
        )
        return 0 if known else 3
    for workload, rows in best.groupby("workload", sort=False):
        metric = plan.workloads[str(workload)].metric
        table = [
            [
                row["optimizer"],
                shown_setting(row),
                "–" if math.isnan(row["value"]) else number(row["value"], metric.unit),
                remark(row),
                f"{row['reached_end']}/{row['tried']}",
                f"{row['gradient_evaluations']:,}",
            ]
            for row in rows.to_dict("records")
        ]
        split = plan.workloads[str(workload)].target_split
        heads = ["optimizer", "best setting", f"{split} {metric.name}", "", "finished", "gradient evaluations"]
        more = ", all ranges extended" if workload in plan.extended else ""
        print_table(f"{workload}{more}", heads, table, right=heads[2:3] + heads[4:])
    for sentence in effectless(plan):
        errors().print(sentence, markup=False)
    if not known:
        errors().print(f"no setting is known yet: type 'thalweg run {name}'", markup=False)
        return 3
    return 0
