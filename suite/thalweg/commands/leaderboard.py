"""``thalweg leaderboard``."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from thalweg.benchmark import Plan, load_benchmark
from thalweg.commands.output import (
    console,
    errors,
    markdown_table,
    number,
    print_json,
    print_lines,
    print_table,
    warn_of_failures,
    warn_of_unreadable,
)
from thalweg.commands.over_all import print_over_all
from thalweg.errors import UserError, unknown
from thalweg.registry import load_registry
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import MEMORY, SECONDS, STABILITY, check_metric, ranking_metric, wanted_for, where_read
from thalweg.scoring.observations import Observations, observe
from thalweg.scoring.scales import changes, settled
from thalweg.scoring.stability import stability
from thalweg.scoring.tuning import effectless
from thalweg.selection import Selection
from thalweg.shown import markdown
from thalweg.stacking import OnDisk
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root
from thalweg.store.sheets import to_csv
from thalweg.store.timings import read_times
from thalweg.tuning.plan import TunedPlan, plan_of

FORMATS = ("table", "markdown", "csv", "json")


def leaderboard_command(
    name: str,
    workload: str | None,
    metric: str | None,
    seeds: int | None,
    extra: list[str],
    format_: str,
    results: Path | None,
    plugin_files: list[Path],
    over_all: bool = False,
    raw: bool = False,
) -> int:
    """Print the leaderboard; exit code 3 when there is nothing to rank."""
    if over_all and (workload is not None or metric is not None):
        raise UserError("--over-all: ranks over all workloads by their targets: leave out --workload and --metric")
    if format_ not in FORMATS:
        raise UserError(f"--format: {unknown('format', format_, FORMATS)}")
    if raw and format_ != "csv":
        raise UserError("--raw: is of --format csv, which escapes texts that a spreadsheet would compute")
    registry = load_registry(plugin_files)
    # those that were asked for by name; others are an error only where the benchmark needs them
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    benchmark = load_benchmark(name, registry)
    root = results_root(results)
    stored = read_stored(BenchmarkResults(root, benchmark.name))
    warn_of_unreadable(stored.unreadable)
    benchmark = replace(benchmark, files=stored.files)
    there = set(stored.column("hash"))
    # results of a GPU can be ranked where there is none, and the other way round
    ways = {device: stored.way() for device in stored.devices}
    plans = [
        (plan_of(benchmark, registry, Selection(seeds, tuple(extra), device=device, stacks=way), stored), way)
        for device, way in ways.items()
    ]
    plan, way = max(plans, key=lambda pair: sum(planned.trial.hash in there for planned in pair[0].trials))
    if workload is not None:
        if workload not in plan.workloads:
            raise UserError(f"--workload: {unknown('workload', workload, plan.workloads)}")
        others = {planned.trial.hash for planned in plan.trials if planned.workload != workload}
        stored = stored.only(~stored.trials["hash"].isin(others))
        plan.workloads = {workload: plan.workloads[workload]}
        plan.trials = [planned for planned in plan.trials if planned.workload == workload]
    wanted = wanted_for(plan.workloads, metric)
    declared = plan.workloads
    if over_all:
        # whatever the budget is one of
        columns = ["step", "epoch", "examples", "gradient_evaluations", "seconds", "split", "metric", "value"]
        seen = observe(plan, stored, None, replace(wanted, columns=columns))
        _notes(plan, seen, way)
        return print_over_all(plan, seen, format_, raw)
    if metric == STABILITY.name:
        check_metric(plan.workloads, metric)
        table, seen = stability(plan, stored)
    else:
        seen = observe(plan, stored, read_times(stored.results.files), wanted)
        table = leaderboard(seen, plan.workloads, metric)
        plan.workloads = settled(plan.workloads, seen.curves, metric)
    match format_:
        case "json":
            rows = table.to_dict("records")
            print_json({"benchmark": plan.benchmark, "metric": metric or "primary", "rows": rows})
        case "csv":
            print(to_csv(table, raw=raw), end="")  # noqa: T201
        case "markdown":
            print_lines("\n\n".join(_markdown(plan, part) for part in _by_workload(table)))
        case _:
            _print(plan, table)
    _notes(plan, seen, way)
    _say(changes(declared, plan.workloads))
    if lacking := [key for key, one in plan.workloads.items() if ranking_metric(one, metric) is None]:
        errors().print(f"without {metric}, and left out: {', '.join(lacking)}", markup=False)
    if table.empty:
        what = f"no results of {plan.benchmark!r} in {root}: type 'thalweg run {name}'"
        if len(seen.trials):
            what = f"no workload with results has {metric}: those with a target have none yet"
        errors().print(what, markup=False)
        return 3
    if metric == SECONDS.name and not seen.timed_on:
        errors().print(f"no step was timed yet: type 'thalweg run {name} --timed'", markup=False)
    lost = table["diverged"] + table["failed"]
    if metric == MEMORY.name and (table["value"].isna() & (lost < table["seeds"])).any():
        errors().print("trials from before the memory of the state was recorded have none", markup=False)
    return 0


def print_leaderboard(plan: Plan, results: BenchmarkResults) -> None:
    """Print the leaderboard of a plan for people."""
    seen = observe(plan, read_stored(results), read_times(results.files), wanted_for(plan.workloads))
    declared, plan.workloads = plan.workloads, settled(plan.workloads, seen.curves)
    _print(plan, leaderboard(seen, plan.workloads))
    _warn(seen)
    _say([*changes(declared, plan.workloads), *(effectless(plan) if isinstance(plan, TunedPlan) else [])])


def _say(lines: list[str]) -> None:
    for line in lines:
        errors().print(line, markup=False)


def _notes(plan: TunedPlan, seen: Observations, way: OnDisk) -> None:
    if not plan.settled:
        tried = plan.tried["status"]
        told = f"{int((tried != 'missing').sum())} of {len(tried)} settings were tried"
        errors().print(f"tuning is not finished: {told}, 'thalweg run' goes on", markup=False)
    _say(effectless(plan))
    if seen.missing and len(seen.trials):
        total = seen.missing + len(seen.trials) + len(seen.unreadable)
        errors().print(f"{seen.missing} of {total} trials are not there yet", markup=False)
    beside = seen.beside - way.count
    if beside > 0 and plan.settled:
        why = "other seeds, settings or versions of plugins"
        errors().print(f"{beside} trials in the folder are not what is asked for now: {why}", markup=False)
    _say(way.notes)
    _warn(seen)


def _warn(seen: Observations) -> None:
    if seen.timed_on:
        errors().print(f"seconds are steps times the seconds of a step on {seen.timed_on}", markup=False)
    for reason in seen.unreadable:
        errors().print(f"left out, since its curve cannot be read: {reason}", markup=False)
    if seen.mixture:
        errors().print(f"the trials ran on different machines or versions: {'; '.join(seen.mixture)}", markup=False)


def _by_workload(table: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in table.groupby("workload", sort=False)]


_HEADINGS = ["rank", "optimizer", "value", "95% interval", "seeds", "reached", "steps"]
_LOSSES = ["diverged", "failed"]
"""Columns that are shown where there is something to tell."""


def _cells(plan: Plan, row: dict[Any, Any]) -> list[str]:
    workload = plan.workloads[row["workload"]]
    ranked = ranking_metric(workload, row["metric"])
    unit = ranked.unit if ranked else ""
    low, high = number(row["low"], unit, 3), number(row["high"], unit, 3)
    ranks = f"{row['rank_low']}–{row['rank_high']}" if row["rank_low"] != row["rank_high"] else f"{row['rank']}"
    reached = f"{row['reached']}/{row['seeds']}" if workload.target else "–"
    steps = row["steps_to_target"]
    return [
        ranks,
        row["optimizer"],
        number(row["value"], unit),
        "–" if math.isnan(row["low"]) else f"{low} to {high}",
        str(row["seeds"]),
        reached,
        "–" if math.isnan(steps) else f"{steps:.0f}",
    ]


def _shown(plan: Plan, part: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of one workload's table."""
    losses = [name for name in _LOSSES if part[name].any()]
    rows = [_cells(plan, row) + [str(row[name]) for name in losses] for row in part.to_dict("records")]
    headings = _HEADINGS + losses
    if (part["metric"] == STABILITY.name).all():
        # of trials, whose steps are no one's
        steps = headings.index("steps")
        rows = [row[:steps] + row[steps + 1 :] for row in rows]
        headings = ["trials" if name == "seeds" else name for name in headings if name != "steps"]
    return headings, rows


def _title(plan: Plan, part: pd.DataFrame) -> str:
    workload = plan.workloads[part["workload"].iloc[0]]
    name = part["metric"].iloc[0]
    metric = ranking_metric(workload, name)
    where = where_read(workload, metric) if metric else ""
    what = f"{name} ({where})" if where else name
    target = workload.target
    aim = f"; target: {workload.target_split} {target.metric} {target.value:g}" if target else ""
    return f"{workload.name}: {what}{aim}"


def _print(plan: Plan, table: pd.DataFrame) -> None:
    for part in _by_workload(table):
        headings, rows = _shown(plan, part)
        right = [heading for heading in headings if heading != "optimizer"]
        console().print()
        print_table(_title(plan, part), headings, rows, right)


def _markdown(plan: Plan, part: pd.DataFrame) -> str:
    return f"**{markdown(_title(plan, part))}**\n\n{markdown_table(*_shown(plan, part))}"
