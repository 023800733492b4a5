"""``thalweg tuning``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from thalweg.console import errors, print_json, print_table, warn_of_failures, warn_of_unreadable
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.kept import find_benchmark
from thalweg.present.tuning import best_table
from thalweg.registry import load_registry
from thalweg.scoring.tuning import best_settings, by_budget, effectless
from thalweg.selection import Selection
from thalweg.store.index import read_counted
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root
from thalweg.tuning.plan import plan_of


def tuning_command(benchmark_name: str, results: Path | None, plugin_files: list[Path], as_json: bool) -> ExitCode:
    """Print the best settings and the cost of finding them; ``NOTHING`` when no setting is known."""
    registry = load_registry(plugin_files)
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    root = results_root(results)
    benchmark = find_benchmark(benchmark_name, registry, root)
    if benchmark.spec.tuning is None:
        raise UserError(f"{benchmark.path.name}: has no [tuning]: the file itself holds the settings")
    stored = read_counted(BenchmarkResults(root, benchmark.name))
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
                "extended": [
                    {"workload": workload, "optimizer": optimizer, "budgets": list(budgets)}
                    for (workload, optimizer), budgets in plan.extended.items()
                ],
                "best": best.to_dict("records"),
                "tried": plan.tried.to_dict("records"),
                "by_budget": budgets.to_dict("records"),
            }
        )
        return ExitCode.DONE if known else ExitCode.NOTHING
    for name in best["workload"].unique():
        table = best_table(best, plan.workloads[name])
        print_table(name, table.headings, table.cells(), table.right)
    for sentence in effectless(plan):
        errors().print(sentence, markup=False)
    if not known:
        errors().print(f"no setting is known yet: type 'thalweg run {benchmark_name}'", markup=False)
        return ExitCode.NOTHING
    return ExitCode.DONE
