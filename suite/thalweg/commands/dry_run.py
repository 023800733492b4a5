"""``thalweg run --dry-run``: what a run would do, and how long it may take."""

from __future__ import annotations

from pathlib import Path

from thalweg.console import console, print_json, print_table
from thalweg.exit_codes import ExitCode
from thalweg.plan import Plan
from thalweg.registry import Registry
from thalweg.runner.cost import usual_of, usual_seconds
from thalweg.runner.done import left_to_do
from thalweg.runner.extent import check_extents
from thalweg.runner.finding import unknown_of
from thalweg.runner.options import RunOptions, workers_at_once
from thalweg.runner.run import trials_of
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults


def dry_run(plan: Plan, registry: Registry, root: Path, options: RunOptions, as_json: bool) -> ExitCode:
    """Print the trials, which of them are done, and the seconds that similar trials took; trains nothing."""
    stored = read_stored(BenchmarkResults(root, plan.benchmark))
    wanted = trials_of(plan)
    to_do = left_to_do(wanted, stored, options.fresh)
    check_extents(to_do, registry)
    left = {planned.trial.hash for planned in to_do}
    seconds = usual_seconds(stored)
    rows = []
    for planned in wanted:
        to_train = planned.trial.hash in left
        usual = usual_of(planned, seconds)
        rows.append(
            {
                "workload": planned.workload,
                "optimizer": planned.optimizer,
                "seed": planned.trial.seed,
                "hash": planned.trial.hash,
                "cached": not to_train,
                "seconds": usual if to_train else 0.0,
            }
        )
    known = [row["seconds"] for row in rows if isinstance(row["seconds"], float)]
    unknown = len(rows) - len(known)
    workers = workers_at_once(registry.executor(options.executor, "--executor"), options.workers)
    total = sum(known) / workers
    open_ones = [entry.name for entry in unknown_of((one.trial.optimizer.name for one in wanted), registry)]
    if as_json:
        document = {"schema": 1, "benchmark": plan.benchmark, "results": str(root), "dry_run": True, "trials": rows}
        document["conventions_unknown"] = open_ones
        print_json(document | {"seconds": round(total, 1), "trials_without_estimate": unknown})
        return ExitCode.DONE
    table = [
        [
            row["workload"],
            row["optimizer"],
            row["seed"],
            row["hash"],
            "done" if row["cached"] else "to train",
            _told(row["seconds"]),
        ]
        for row in rows
    ]
    heads = ["workload", "optimizer", "seed", "hash", "", "about"]
    print_table(f"{plan.benchmark}, to be saved in {root}", heads, table, right=["seed", "about"])
    at_once = f" with {workers} at once" if workers > 1 else ""
    rest = f"; the time of {unknown} of them is not known" if unknown else ""
    about = f" in about {total:.0f} s" if unknown < len(left) else ""
    line = f"{len(rows)} trials: {len(rows) - len(left)} done, {len(left)} to train{about}{at_once}{rest}"
    console().print()
    console().print(line)
    if open_ones:
        console().print(
            f"{', '.join(open_ones)}: whether a closure or gradients with their graph are needed is found at the first "
            "run, and may change these hashes"
        )
    return ExitCode.DONE


def _told(seconds: object) -> str:
    return f"{seconds:.1f} s" if isinstance(seconds, float) and seconds else ("" if seconds == 0 else "unknown")
