"""``thalweg run --dry-run``: what a run would do, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.console import console, print_json, print_table
from thalweg.exit_codes import ExitCode
from thalweg.registry import Registry
from thalweg.runner.cost import told_time, usual_of, usual_seconds
from thalweg.runner.done import left_to_do
from thalweg.runner.extent import check_extents
from thalweg.runner.finding import unknown_of
from thalweg.runner.options import RunOptions, workers_at_once
from thalweg.runner.run import trials_of
from thalweg.runner.tuned import following
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.tuning.plan import TunedPlan


def dry_run(plan: TunedPlan, registry: Registry, root: Path, options: RunOptions, as_json: bool) -> ExitCode:
    """Print the trials, which of them are done, and the seconds that similar trials took; trains nothing.

    Of a benchmark that tunes, each trial of the search has its setting, and the trials that follow are counted.
    """
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
        if plan.outcomes:
            setting = plan.settings.get(planned.trial.hash)
            rows[-1] |= {"stage": "final" if setting is None else "tuning", "setting": setting or {}}
    known = [row["seconds"] for row in rows if isinstance(row["seconds"], float)]
    unknown = len(rows) - len(known)
    workers = workers_at_once(registry.executor(options.executor, "--executor"), options.workers)
    open_ones = [entry.name for entry in unknown_of((one.trial.optimizer.name for one in wanted), registry)]
    nothing_known = 0 < unknown == len(left)
    total = None if nothing_known else round(sum(known) / workers, 1)
    if as_json:
        document = {"schema": 1, "benchmark": plan.benchmark, "results": str(root), "dry_run": True, "trials": rows}
        document |= {"seconds": total, "trials_without_estimate": unknown, "conventions_unknown": open_ones}
        if plan.outcomes:
            document["later"] = plan.later._asdict()
        print_json(document)
        return ExitCode.DONE
    table = [
        [
            row["workload"],
            row["optimizer"],
            row["seed"],
            *([_setting(row)] if plan.outcomes else []),
            row["hash"],
            "done" if row["cached"] else "to train",
            _told(row["seconds"]),
        ]
        for row in rows
    ]
    heads = ["workload", "optimizer", "seed", *(["tries"] if plan.outcomes else []), "hash", "", "about"]
    print_table(f"{plan.benchmark}, to be saved in {root}", heads, table, right=["seed", "about"])
    at_once = f" with {workers} at once" if workers > 1 else ""
    rest = f"; the time of {unknown} of them is not known" if unknown else ""
    about = f" in about {told_time(total)}" if left and total is not None else ""
    line = f"{len(rows)} trials: {len(rows) - len(left)} done, {len(left)} to train{about}{at_once}{rest}"
    console().print()
    console().print(line)
    if not plan.settled:
        console().print(f"{following(plan.later)}; which they are depends on the trials above.")
    if open_ones:
        console().print(
            f"{', '.join(open_ones)}: whether a closure or gradients with their graph are needed is found at the first "
            "run, and may change these hashes"
        )
    return ExitCode.DONE


def _setting(row: Mapping[str, Any]) -> str:
    """The setting that a trial of the search tries; a final seed tries none."""
    return ", ".join(f"{name}={value:g}" for name, value in row["setting"].items()) or "final seed"


def _told(seconds: object) -> str:
    return f"{seconds:.1f} s" if isinstance(seconds, float) and seconds else ("" if seconds == 0 else "unknown")
