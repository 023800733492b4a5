"""``thalweg leaderboard``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from thalweg.console import (
    console,
    errors,
    print_json,
    print_lines,
    print_table,
    print_text,
    warn_of_failures,
    warn_of_unreadable,
)
from thalweg.errors import UserError, unknown
from thalweg.exit_codes import ExitCode
from thalweg.kept import find_benchmark
from thalweg.plan import Plan
from thalweg.present import sentences
from thalweg.present.expansion import best_expansion
from thalweg.present.ladders import INTRODUCTION, matrix
from thalweg.present.standings import Board
from thalweg.registry import load_registry
from thalweg.scoring.ladders import climb
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import (
    SECONDS,
    STABILITY,
    STATE_BYTES,
    STEPS,
    check_metric,
    ranking_metric,
    tells_cost,
    wanted_for,
)
from thalweg.scoring.observations import Observations, observe
from thalweg.scoring.scales import changes, settled
from thalweg.scoring.stability import stability
from thalweg.scoring.step_costs import dear_steps
from thalweg.scoring.tuning import effectless
from thalweg.selection import Selection
from thalweg.shown import markdown
from thalweg.stacking import OnDisk
from thalweg.store.index import read_counted, read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import results_root
from thalweg.store.sheets import to_csv
from thalweg.store.timings import read_times
from thalweg.tuning.plan import TunedPlan

FORMATS = ("table", "markdown", "csv", "json")


@dataclass(frozen=True)
class LeaderboardOptions:
    """What ``thalweg leaderboard`` is asked for."""

    benchmark: str
    """Name, or path of a TOML file."""
    workload: str | None = None
    """The only workload to rank on."""
    metric: str | None = None
    """The metric or cost that ranks; None for each workload's own metric."""
    seeds: int | None = None
    extra: tuple[str, ...] = ()
    """The values of ``--with``."""
    over_all: bool = False
    format: str = "table"
    raw: bool = False
    """Whether CSV keeps texts that a spreadsheet would compute."""
    results: Path | None = None
    plugin_files: tuple[Path, ...] = ()

    def check(self) -> None:
        """Raise UserError where options contradict each other."""
        if self.over_all and (self.workload is not None or self.metric is not None):
            raise UserError("--over-all: ranks over all workloads by their targets: leave out --workload and --metric")
        if self.format not in FORMATS:
            raise UserError(f"--format: {unknown('format', self.format, FORMATS)}")
        if self.raw and self.format != "csv":
            raise UserError("--raw: is for --format csv, which escapes texts that a spreadsheet would compute")


def leaderboard_command(options: LeaderboardOptions) -> ExitCode:
    """Print the leaderboard; ``NOTHING`` when there is nothing to rank."""
    options.check()
    registry = load_registry(options.plugin_files)
    # a plugin that the user did not name matters only where the benchmark needs it, and then it is an error
    warn_of_failures(record for record in registry.plugins if record.origin == "file")
    root = results_root(options.results)
    benchmark = find_benchmark(options.benchmark, registry, root)
    everything = read_stored(BenchmarkResults(root, benchmark.name))
    stored = everything.counted
    warn_of_unreadable(stored.unreadable)
    benchmark = replace(benchmark, files=stored.files)
    found = best_expansion(benchmark, registry, stored, Selection(options.seeds, options.extra))
    plan, way, metric = found.plan, found.way, options.metric
    if left := len(everything.trials) - len(stored.trials):
        errors().print(sentences.unfinished(left, options.benchmark), markup=False)
    if options.workload is not None:
        if options.workload not in plan.workloads:
            raise UserError(f"--workload: {unknown('workload', options.workload, plan.workloads)}")
        others = {planned.trial.hash for planned in plan.trials if planned.workload != options.workload}
        stored = stored.only(~stored.trials["hash"].isin(others))
        plan.workloads = {options.workload: plan.workloads[options.workload]}
        plan.trials = [planned for planned in plan.trials if planned.workload == options.workload]
    wanted = wanted_for(plan.workloads, metric)
    declared = plan.workloads
    if options.over_all:
        if not all(tells_cost(workload) for workload in plan.workloads.values()):
            raise UserError("--over-all: these runs were imported, and their source tells no examples and no work")
        from thalweg.commands.over_all import print_over_all  # loads altair

        # the budget may be in any of these units
        axes = ["step", "epoch", "examples", "gradient_evaluations", "work", "seconds"]
        columns = [*axes, "split", "metric", "value"]
        seen = observe(plan, stored, None, replace(wanted, columns=columns))
        _warn_of_plan(plan, seen, way)
        return print_over_all(plan, seen, options.format, options.raw)
    if metric == STABILITY.name:
        check_metric(plan.workloads, metric)
        table, seen = stability(plan, stored)
    else:
        seen = observe(plan, stored, read_times(stored.results.files), wanted)
        table = leaderboard(seen, plan.workloads, metric)
        plan.workloads = settled(plan.workloads, seen.curves, metric)
    ladders = benchmark.spec.ladders if options.workload is None and metric is None else {}
    _print(plan, table, options, climb(plan, stored, ladders) if ladders else None)
    _warn_of_plan(plan, seen, way)
    _say(changes(declared, plan.workloads))
    if benchmark.spec.imported is not None:
        errors().print(f"These runs were imported, and not trained here: {sentences.not_known()}.", markup=False)
    if metric in (None, STEPS.name) and (dear := dear_steps(seen.trials, stored)):
        errors().print(f"{sentences.several_gradients(dear)} (--metric work_to_target)", markup=False)
    if lacking := [key for key, one in plan.workloads.items() if ranking_metric(one, metric) is None]:
        errors().print(f"without {metric}, and left out: {', '.join(lacking)}", markup=False)
    if table.empty:
        what = f"no results of {plan.benchmark!r} in {root}: type 'thalweg run {options.benchmark}'"
        if len(seen.trials):
            what = f"no workload with results has {metric}: the workloads with a target have no results yet"
        errors().print(what, markup=False)
        return ExitCode.NOTHING
    if metric == SECONDS.name and not seen.timed_on:
        errors().print(f"no step was timed yet: type 'thalweg run {options.benchmark} --timed'", markup=False)
    lost = table["diverged"] + table["failed"]
    if metric == STATE_BYTES.name and (table["value"].isna() & (lost < table["seeds"])).any():
        errors().print(
            "trials without a value: the memory of their state was not recorded, or could not be told", markup=False
        )
    return ExitCode.DONE


def print_leaderboard(plan: TunedPlan, results: BenchmarkResults, ladders: Mapping[str, Sequence[str]]) -> None:
    """Print the leaderboard of a plan for people; of a benchmark with ladders their matrix."""
    stored = read_counted(results)
    seen = observe(plan, stored, read_times(results.files), wanted_for(plan.workloads))
    declared, plan.workloads = plan.workloads, settled(plan.workloads, seen.curves)
    if ladders:
        _print_ladders(climb(plan, stored, ladders), "table")
    else:
        _print_tables(_boards(plan, leaderboard(seen, plan.workloads)))
    _warn_of_trials(seen)
    _say([*changes(declared, plan.workloads), *effectless(plan)])


def _print_ladders(scores: pd.DataFrame, format_: str) -> None:
    table = matrix(scores)
    if format_ == "markdown":
        print_lines(table.markdown())
        return
    console().print()
    print_table("levels passed (tries)", table.headings, table.cells(), table.right)
    console().print()
    console().print(f"{INTRODUCTION} One level: --workload NAME.", markup=False)


def _print(plan: Plan, table: pd.DataFrame, options: LeaderboardOptions, ladders: pd.DataFrame | None) -> None:
    match options.format:
        case "json":
            rows = table.to_dict("records")
            document = {"benchmark": plan.benchmark, "metric": options.metric or "primary", "rows": rows}
            print_json(document | ({} if ladders is None else {"ladders": ladders.to_dict("records")}))
        case "csv":
            print_text(to_csv(table, raw=options.raw))
        case "table" | "markdown" if ladders is not None:
            _print_ladders(ladders, options.format)
        case "markdown":
            boards = _boards(plan, table)
            print_lines("\n\n".join(map(_markdown, boards)))
        case _:
            _print_tables(_boards(plan, table))


def _boards(plan: Plan, table: pd.DataFrame) -> list[Board]:
    boards = []
    for name, rows in table.groupby("workload", sort=False):
        workload = plan.workloads[str(name)]
        metric = ranking_metric(workload, str(rows["metric"].iloc[0]))
        boards.append(Board(rows, workload, metric or workload.metric))
    return boards


def _markdown(board: Board) -> str:
    remark = f"\n\n{markdown(board.remark)}" if board.remark else ""
    return f"**{markdown(board.title)}**\n\n{board.table.markdown()}{remark}"


def _print_tables(boards: Iterable[Board]) -> None:
    for board in boards:
        table = board.table
        console().print()
        print_table(board.title, table.headings, table.cells(), table.right)
        if board.remark:
            console().print(board.remark, markup=False)


def _say(lines: list[str]) -> None:
    for line in lines:
        errors().print(line, markup=False)


def _warn_of_plan(plan: TunedPlan, seen: Observations, way: OnDisk) -> None:
    """Say on standard error what the leaderboard lacks and leaves out."""
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
        errors().print(f"left out: {sentences.count(beside, 'trial')} in the folder, of {why}", markup=False)
    _say(way.notes)
    _warn_of_trials(seen)


def _warn_of_trials(seen: Observations) -> None:
    if seen.timed_on:
        errors().print(f"seconds are steps times the seconds of a step on {seen.timed_on}", markup=False)
    for reason in seen.unreadable:
        errors().print(f"left out, since its curve cannot be read: {reason}", markup=False)
    if seen.mixture:
        errors().print(f"the trials ran on different machines or versions: {'; '.join(seen.mixture)}", markup=False)
