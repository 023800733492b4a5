"""Trains the experiments that claims need: all of them as one run, so that trials are shared and train together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from thalweg.contracts.claim import Experiment
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.expand import Benchmark, optimizers_of
from thalweg.experiment import benchmark_of
from thalweg.hooks import call_hook
from thalweg.outcome import RunReport
from thalweg.plan import Plan, PlannedTrial
from thalweg.registry import Registry
from thalweg.runner.finding import find_out
from thalweg.runner.options import RunOptions
from thalweg.runner.run import Watcher, run_benchmark
from thalweg.runner.stacking import Rule
from thalweg.runner.tuned import added
from thalweg.selection import Device, Selection
from thalweg.stacking import alone
from thalweg.store.claims import CLAIMS, TRAINED
from thalweg.store.index import read_counted
from thalweg.store.results import BenchmarkResults
from thalweg.tuning.plan import TunedPlan, plan_of


def experiments_of(needs: Mapping[str, Iterable[Experiment]]) -> dict[str, Experiment]:
    """The experiments of all claims by name, each once; ``needs`` has those of each claim by id.

    Raises:
        UserError: two claims give one name to different experiments.
    """
    found: dict[str, tuple[Experiment, str]] = {}
    for id_, experiments in needs.items():
        for one in experiments:
            other, owner = found.setdefault(one.name, (one, id_))
            if other.content != one.content:
                raise UserError(f"claims {owner} and {id_}: two different experiments are called {one.name!r}")
    return {name: one for name, (one, _) in found.items()}


def without_data(needs: Mapping[str, Iterable[Experiment]], registry: Registry) -> dict[str, UserError]:
    """The claims that need data which cannot be had, by id, with the reasons."""
    found = {}
    for id_, experiments in needs.items():
        for workload in (each for one in experiments for each in benchmark_of(one).spec.workloads.values()):
            problem = registry.problem(workload.problem.name)
            try:
                problem.fetch(resolve(problem.options, workload.problem.options, problem.name))
            except UserError as error:
                found[id_] = error
            except Exception:  # a plugin's mistake fails its own trials, which report it
                continue
    return found


def results_of(root: Path) -> BenchmarkResults:
    """The results of the trials that claims need."""
    return BenchmarkResults(root / CLAIMS, TRAINED)


@dataclass
class Trained:
    """Experiments after training."""

    plans: dict[str, TunedPlan] = field(default_factory=dict)
    """By experiment."""
    report: RunReport | None = None
    """The outcome; None where nothing is trained."""
    false: tuple[str, ...] = ()
    """Optimizers that call themselves elementwise and are not."""


def train(
    experiments: Mapping[str, Experiment],
    registry: Registry,
    root: Path,
    watcher: Watcher,
    options: RunOptions,
    device: Device = "cpu",
    batching: bool = True,
) -> Trained:
    """Train the trials of experiments that are not on disk.

    Experiments that tune are planned again after each round of training, until nothing new is planned.
    """
    done = Trained()
    if not experiments:
        return done
    results = results_of(root)
    if results.refusal:
        raise UserError(f"{results.path} {results.refusal}")
    rule = Rule(registry, results)
    selection = Selection(device=device, stacks=rule if batching else alone)
    benchmarks = {name: benchmark_of(one) for name, one in experiments.items()}
    whole = Benchmark(TRAINED, Path(TRAINED), "", next(iter(benchmarks.values())).spec)
    find_out((name for one in benchmarks.values() for name in optimizers_of(one, selection)), registry, watcher.say)
    asked: set[str] = set()
    left = list(benchmarks)
    try:
        while left:
            stored = read_counted(results)
            for name in left:
                done.plans[name] = plan_of(benchmarks[name], registry, selection, stored)
            trials, tuning = _new(done, left, lambda plan: plan.trials, asked), _new(done, left, _tuning, asked)
            if done.report is not None and not trials and not tuning:
                break
            asked |= {planned.trial.hash for planned in (*trials, *tuning)}
            plan = Plan(TRAINED, {}, trials, tuning)
            report = run_benchmark(whole, plan, registry, root / CLAIMS, watcher, options)
            done.report = report if done.report is None else added(done.report, report)
            if report.outcome != "complete" or report.errors:
                break
            # a plan without tuning has no second round
            left = [name for name in left if done.plans[name].outcomes]
    finally:
        rule.keep()
    done.false = tuple(rule.false)
    if done.report is not None:
        call_hook(registry, "thalweg_run_finished", done.report.errors, run=done.report)
    return done


def _tuning(plan: TunedPlan) -> list[PlannedTrial]:
    return plan.tuning


def _new(
    done: Trained, names: Iterable[str], part: Callable[[TunedPlan], Iterable[PlannedTrial]], asked: set[str]
) -> list[PlannedTrial]:
    """The trials that were not asked for before, under the experiment's name."""
    return [
        replace(planned, workload=f"{name}.{planned.workload}"[:100])
        for name in names
        for planned in part(done.plans[name])
        if planned.trial.hash not in asked
    ]
