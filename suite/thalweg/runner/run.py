"""Runs a benchmark: skips the trials that are done, trains the others, and saves each as it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from thalweg.contracts.executor import Executor, ExecutorGone
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.expand import Benchmark
from thalweg.failure import Failure
from thalweg.outcome import RunReport, TrialResult
from thalweg.own import signing_key
from thalweg.plan import Plan, PlannedTrial
from thalweg.registry import Registry
from thalweg.runner.cost import Usual, usual_seconds
from thalweg.runner.done import left_to_do
from thalweg.runner.extent import check_extents
from thalweg.runner.groups import Group, groups_of, train_and_save_group
from thalweg.runner.options import RunOptions, executor_of, idle_devices, workers_at_once
from thalweg.runner.work import Job, skeleton_of, use_registry
from thalweg.shown import cut
from thalweg.store.announced import Announcement, remove_stale
from thalweg.store.curve import curve_table
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.sweep import sweep
from thalweg.store.writing import ResultsFolder
from thalweg.trial import ProbeRequest
from thalweg.tuning.plan import TunedPlan

_LOST = "Lost"


class Watcher(Protocol):
    """Follows a run: the terminal's progress display, or nothing."""

    def begin(self, cached: int, left: Sequence[PlannedTrial], usual: Usual) -> None:
        """The run begins.

        Args:
            cached: the number of trials that are on disk already.
            left: the trials to train.
            usual: the seconds that similar trials took.
        """

    def step(self, trials: Sequence[PlannedTrial], done: int, total: int) -> None:
        """A trial has done ``done`` of its ``total`` steps."""

    def end(self, planned: PlannedTrial, result: TrialResult) -> None:
        """A trial has ended."""

    def say(self, text: str) -> None:
        """Show a line to the user."""


def run_benchmark(
    benchmark: Benchmark,
    plan: Plan,
    registry: Registry,
    root: Path,
    watcher: Watcher,
    options: RunOptions,
) -> RunReport:
    """Train the plan's trials that are not on disk yet (all of them if ``fresh``) and save each as it ends.

    Trials with places in a stack train together, whatever else is trained and wherever.

    KeyboardInterrupt ends the run. The report then says "interrupted", and what had ended before is kept.
    """
    executor, limits = executor_of(options, registry)
    results = BenchmarkResults(root, plan.benchmark)
    started = time.perf_counter()
    report = RunReport(plan.benchmark, root)
    try:
        if not results.packed:
            remove_stale(ResultsFolder(root, plan.benchmark))
        for document in [] if results.packed else sweep(ResultsFolder(root, plan.benchmark)):
            title = f"{document.workload} · {document.optimizer} · seed {document.trial.seed}"
            watcher.say(
                f"{title} was cut off in an earlier run and is unfinished. If this run needs the trial, it goes on"
                " from the checkpoint, or trains the trial again."
            )
        stored = read_stored(results)
    except OSError as error:
        raise UserError(f"{cut(str(results.path), 300)}: cannot be written: {error.strerror}") from error
    for item in stored.unreadable:
        watcher.say(f"{item.path.name} cannot be read ({item.reason}) and does not count: see 'thalweg results verify'")
    wanted = trials_of(plan)
    jobs = [
        Job(planned, root.absolute(), plan.benchmark, registry.plugin_files, fresh=options.fresh)
        for planned in left_to_do(wanted, stored, options.fresh)
    ]
    report.total, report.cached = len(wanted), len(wanted) - len(jobs)
    if results.packed and not jobs:
        watcher.begin(report.cached, [], {})
        report.seconds = time.perf_counter() - started
        return report
    folder = ResultsFolder(root, plan.benchmark)
    check_extents((job.planned for job in jobs), registry)
    fetch_data(jobs, registry, watcher)
    try:
        if benchmark.text:
            folder.write_benchmark(benchmark.text)
    except OSError as error:
        if jobs:  # otherwise nothing needs to be written: results may be on a disk that is read-only
            raise UserError(f"{cut(str(results.path), 300)}: cannot be written: {error.strerror}") from error
    watcher.begin(report.cached, [job.planned for job in jobs], usual_seconds(stored) if jobs else {})
    if jobs:
        _tell_without_key(watcher)
        _tell_of_idle_devices(jobs, executor, registry, watcher)
    use_registry(registry)
    todo = groups_of(jobs, workers_at_once(executor, options.workers))
    announcement = Announcement(folder)
    try:
        if jobs:
            tuned = isinstance(plan, TunedPlan) and bool(plan.outcomes)
            later = sum(plan.later) if isinstance(plan, TunedPlan) else 0
            announcement.begin((job.planned for job in jobs), tuned, later)
        while todo:
            apart: list[Group] = []
            for group, outcomes in _trained_by(executor, todo, watcher, options.workers, limits):
                if len(group.jobs) > 1 and all(_is_lost(result) for result in outcomes):
                    # training each trial by itself shows which one ended the worker
                    apart += [Group((job,)) for job in group.jobs]
                    continue
                for job, result in zip(group.jobs, outcomes, strict=True):
                    if result.error is not None and result.path is None:
                        _put_on_record(folder, job, result.error, registry)
                    if result.cached:
                        report.cached += 1
                    else:
                        report.trained.append((job.planned, result))
                    if reason := result.summary.get("trained_anew"):
                        watcher.say(f"{job.planned.title} was interrupted and trained from the start: {reason}")
                    if coarse := result.summary.get("coarse_state"):
                        kept = f"{len(coarse)} tensors of its optimizer's state in a lower precision"
                        watcher.say(f"{job.planned.title} keeps {kept} than its own: {coarse[0]}")
                    if (spent := result.summary.get("warm_up_seconds", 0)) > 1:
                        watcher.say(
                            f"{job.planned.title} made its first steps in {spent:.0f} s, before its budget began"
                        )
                    announcement.end(job.planned.trial.hash, result.status)
                    watcher.end(job.planned, result)
                    if result.status == "failed" and result.log is not None:
                        watcher.say(f"{job.planned.title}: what it printed is in {result.log}")
            todo = apart
    except KeyboardInterrupt:
        report.outcome = "interrupted"
        # the exception released the lock of the trial in hand, so the sweep records that trial as cut off
        _sweep(folder)
    except ExecutorGone as error:
        report.outcome = "stopped"
        message = f"{error}: run again to train the rest"
        report.errors[f"executor {executor.name}"] = Failure(kind=_LOST, message=message)
        _sweep(folder)
    finally:
        announcement.close()
    ended = {planned.trial.hash for planned in wanted} - {job.planned.trial.hash for job in jobs}
    ended |= {planned.trial.hash for planned, result in report.trained if result.path is not None}
    _tell_what_is_gone(report, folder, ended, benchmark.text)
    report.seconds = time.perf_counter() - started
    for label, failure in report.errors.items():
        watcher.say(f"{label}: {failure.message}")
    return report


def _trained_by(
    executor: Executor, groups: Sequence[Group], watcher: Watcher, workers: int | None, limits: dict[str, Any]
) -> Iterator[tuple[Group, list[TrialResult]]]:
    """Each group with its results, as an executor yields them.

    Raises:
        ExecutorGone: the executor raised an exception, yielded a group twice, or left groups out.
    """
    left = {_hashes(group) for group in groups}
    try:
        for group, outcomes in executor.run(
            train_and_save_group,
            groups,
            _lost,
            lambda group, done, total: watcher.step([job.planned for job in group.jobs], done, total),
            workers,
            **limits,
        ):
            if _hashes(group) not in left:
                raise ExecutorGone("it gave a job's result twice")
            left.remove(_hashes(group))
            yield group, outcomes
    except (ExecutorGone, UserError):
        raise
    except Exception as error:  # a plugin's mistake
        raise ExecutorGone(Failure.of(error).line) from error
    if left:
        raise ExecutorGone(f"it ended without a result for {len(left)} of {len(groups)} jobs")


def _hashes(group: Group) -> tuple[str, ...]:
    return tuple(job.planned.trial.hash for job in group.jobs)


def trials_of(plan: Plan) -> list[PlannedTrial]:
    """The plan's trials, each once, because two entries of the grid may mean one trial."""
    wanted: dict[str, PlannedTrial] = {}
    for planned in (*plan.tuning, *plan.trials):
        key = planned.trial.hash
        wanted[key] = _with_probes(wanted[key], planned.probes) if key in wanted else planned
    return list(wanted.values())


def fetch_data(jobs: Iterable[Job], registry: Registry, watcher: Watcher) -> None:
    """Fetch the data of all trials before the first one trains.

    Raises:
        UserError: some data cannot be had.
    """
    refs = {str(job.planned.trial.problem.canonical()): job.planned.trial.problem for job in jobs}
    for ref in refs.values():
        problem = registry.problem(ref.name)
        try:
            problem.fetch(resolve(problem.options, ref.settings, ref.name))
        except UserError:
            raise
        except Exception as error:  # a plugin's mistake fails its own trials, which report it
            watcher.say(f"problem {ref.name!r} could not fetch its data: {Failure.of(error).line}")


def _tell_without_key(watcher: Watcher) -> None:
    try:
        signing_key()
    except OSError as error:
        watcher.say(f"no checkpoints are kept, and what is cut off is trained from the start: {error}")


def _tell_of_idle_devices(jobs: Sequence[Job], executor: Executor, registry: Registry, watcher: Watcher) -> None:
    if len(jobs) > 1 and jobs[0].planned.trial.device == "cuda":
        import torch

        if note := idle_devices(executor, registry, torch.cuda.device_count()):
            watcher.say(note)


def _put_on_record(results: ResultsFolder, job: Job, error: Failure, registry: Registry) -> None:
    """Save the failure of a trial that its worker could not save, unless a result of the trial is on disk."""
    hash_ = job.planned.trial.hash
    with suppress(Exception):  # the disk may be full or read-only, or a plugin wrong; the report says so
        if error.kind == _LOST:
            sweep(results, {hash_: error})
        if results.find(hash_) is None:
            skeleton = skeleton_of(job, registry).model_copy(update={"reason": error.line, "error": error})
            with results.claim(skeleton) as folder:
                if results.find(hash_) is None:
                    results.write(folder, skeleton, curve_table([]), {}, {})


def _sweep(results: ResultsFolder) -> None:
    with suppress(OSError):  # what cannot be swept now is swept by the next command
        sweep(results)


def _tell_what_is_gone(report: RunReport, results: ResultsFolder, ended: set[str], text: str) -> None:
    """Report an error where results of this run were removed while it went on."""
    there = {name.rpartition("--")[2] for name in results.files.names("trials")}
    gone = len(ended - there)
    if gone:
        message = f"{results.path} was removed during the run, with {gone} trials that had ended: run again"
        report.errors["results"] = Failure(kind="Removed", message=message)
        if text:
            with suppress(OSError):
                results.write_benchmark(text)


def _lost(group: Group, reason: str) -> list[TrialResult]:
    return [TrialResult("failed", f"{_LOST}: {reason}", Failure(kind=_LOST, message=reason)) for _ in group.jobs]


def _is_lost(result: TrialResult) -> bool:
    return result.error is not None and result.error.kind == _LOST and result.path is None


def _with_probes(planned: PlannedTrial, more: Iterable[ProbeRequest]) -> PlannedTrial:
    keys = {request.key for request in planned.probes}
    return replace(planned, probes=planned.probes + tuple(request for request in more if request.key not in keys))
