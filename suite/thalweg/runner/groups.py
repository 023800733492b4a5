"""Trains trials of one kind together, in one job, and saves each by itself."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thalweg.contracts.executor import Progress
from thalweg.failure import Failure
from thalweg.hooks import call_hook
from thalweg.outcome import TrialResult
from thalweg.printed import LOG, kept, outside
from thalweg.runner.exits import exits_are_failures
from thalweg.runner.interrupts import finish_writing, heed
from thalweg.runner.work import Job, cached_result, identity, registry_of, save, skeleton_of, train_and_save
from thalweg.stacking import group_key
from thalweg.store.curve import curve_table
from thalweg.store.sweep import killed
from thalweg.store.writing import CHECKPOINT, ResultsFolder

if TYPE_CHECKING:
    from pathlib import Path

    from thalweg.benchmark_file import Keep
    from thalweg.plan import PlannedTrial
    from thalweg.registry import Registry
    from thalweg.store.documents import TrialDocument
    from thalweg.store.trials import StoredTrial
    from thalweg.training.assembly import ActiveProbe
    from thalweg.training.checkpoint import Checkpoint
    from thalweg.training.trained import Trained


@dataclass(frozen=True)
class Group:
    """Jobs whose trials train together."""

    jobs: tuple[Job, ...]


MEMBERS = 16
"""Trials that train together at most. More share the time around each operation among more, but leave the cache."""


def groups_of(jobs: Sequence[Job], workers: int = 1) -> list[Group]:
    """The jobs in groups of trials that may train together, ordered by each group's first job.

    The grouping changes no number, because a trial's numbers do not depend on the other trials of its group.

    Args:
        jobs: what is trained.
        workers: how many groups train at once. Groups are small enough to give each worker one.
    """
    together: dict[str, list[int]] = {}
    for index, job in enumerate(jobs):
        trial = job.planned.trial
        together.setdefault(f"alone {index}" if trial.stack is None else group_key(trial), []).append(index)
    most = min(MEMBERS, -(-len(jobs) // workers))
    groups: list[list[int]] = []
    for members in together.values():
        count = -(-len(members) // most)
        ends = [len(members) * number // count for number in range(count + 1)]
        groups += [members[start:end] for start, end in itertools.pairwise(ends)]
    return [Group(tuple(jobs[index] for index in members)) for members in sorted(groups)]


def train_and_save_group(group: Group, progress: Progress) -> list[TrialResult]:
    """Train a group and save each trial. If one trial makes the others fail, each trains without the others.

    A failure becomes a result. Only KeyboardInterrupt is raised.
    """
    jobs = list(group.jobs)
    if jobs[0].planned.trial.stack is None:
        return [train_and_save(job, lambda _, done, total: progress(group, done, total)) for job in jobs]
    told: list[bool] = [False] * len(jobs)
    try:
        with exits_are_failures():
            return _train_and_save_group(group, progress, told)
    except (Exception, SystemExit) as error:
        heed()
        if len(jobs) == 1:
            failure = Failure.of(error)
            return [TrialResult("failed", failure.line, failure)]
    apart = [replace(job, told=job.told or one) for job, one in zip(jobs, told, strict=True)]
    return [
        result
        for job in apart
        for result in train_and_save_group(Group((job,)), lambda _, done, total: progress(group, done, total))
    ]


def _train_and_save_group(group: Group, progress: Progress, told: list[bool]) -> list[TrialResult]:
    from thalweg.training.contained import contained
    from thalweg.training.stacked.train import train_together
    from thalweg.training.trained import Trained

    first = group.jobs[0]
    registry = registry_of(first)
    results = ResultsFolder(first.results, first.benchmark)
    found: dict[int, TrialResult] = {}
    errors: list[dict[str, Failure]] = [{} for _ in group.jobs]
    own: set[int] = set()
    with ExitStack() as claims:
        left: list[tuple[int, Job, TrialDocument, Path, StoredTrial | None]] = []
        # the order of hashes is one order for all runners, so two runners never wait for each other
        for index, job in sorted(enumerate(group.jobs), key=lambda item: item[1].planned.trial.hash):
            skeleton = skeleton_of(job, registry)
            folder = claims.enter_context(results.claim(killed(skeleton)))
            there = results.find(job.planned.trial.hash)
            cached = there and cached_result(job, there, results, registry)
            if cached:
                found[index] = cached
            else:
                left.append((index, job, skeleton, folder, there))
        left.sort(key=lambda item: item[0])
        for index, job, *_ in left:
            if not job.told:
                call_hook(registry, "thalweg_trial_started", errors[index], trial=job.planned.trial)
            told[index] = True
        trials = [job.planned.trial for _, job, *_ in left]
        members = _GroupProgress(outside(progress), group)
        checkpoint = _checkpoint(results, [(job, skeleton) for _, job, skeleton, *_ in left])
        trained: list[Trained] = []
        try:
            with contained(first.threads), ExitStack() as keeping:
                if left:
                    keeping.enter_context(kept(left[0][3] / LOG))
                keep = _kept([job.planned for _, job, *_ in left], registry)
                looking = [_in_training(job.planned, registry) for _, job, *_ in left]
                trained = train_together(trials, registry, members, keep, checkpoint, looking) if trials else []
                for (_, job, *_), one in zip(left, trained, strict=True):
                    _measure(job.planned, one, registry)
        except (Exception, SystemExit) as error:
            if len(group.jobs) > 1:
                raise
            failure = Failure.of(error)
            hint = f"{failure.message} (it trains in a stack here, and by itself with --no-batching)"
            failure = failure.model_copy(update={"message": hint})
            trained = [Trained("failed", failure.line, failure, curve_table([]), {})]
        heed()
        claims.enter_context(finish_writing())
        # the trials of one program have one output
        for _, _, _, folder, _ in left[1:]:
            if (left[0][3] / LOG).exists():
                shutil.copyfile(left[0][3] / LOG, folder / LOG)
        for (index, job, skeleton, folder, there), one in zip(left, trained, strict=True):
            try:
                found[index], whole = save(job.planned, skeleton, one, results, folder, there, errors[index])
            except Exception as error:
                failure = Failure.of(error)
                found[index], whole = TrialResult("failed", failure.line, failure), False
            own |= {index} if whole else set()
        checkpoint.remove()
    for index in sorted(own):
        trial = group.jobs[index].planned.trial
        call_hook(registry, "thalweg_trial_finished", errors[index], trial=trial, result=found[index])
    return [found[index] for index in range(len(group.jobs))]


def _kept(planned: Sequence[PlannedTrial], registry: Registry) -> Keep | None:
    """Which weights a group must keep, for its trials or for their probes."""
    needs = {need for one in planned for request in one.probes for need in registry.probe(request.probe.name).needs}
    if "trajectory" in needs or any(one.keep == "trajectory" for one in planned):
        return "trajectory"
    return "weights" if any(one.probes or one.keep for one in planned) else None


def _in_training(planned: PlannedTrial, registry: Registry) -> list[ActiveProbe]:
    """The probes of a trial that look while it trains."""
    from thalweg.training.assembly import active_probes

    looking = tuple(one for one in planned.probes if not registry.probe(one.probe.name).weights_suffice)
    return active_probes(looking, registry)


def _measure(planned: PlannedTrial, trained: Trained, registry: Registry) -> None:
    """Run a member's probes that look at saved weights, and drop weights that nobody asked for."""
    from thalweg.contracts.probe import SavedWeights
    from thalweg.training.assembly import active_probes
    from thalweg.training.measure import measure_saved

    saved = tuple(one for one in planned.probes if registry.probe(one.probe.name).weights_suffice)
    for active in active_probes(saved, registry) if trained.status == "done" else []:
        key = active.request.key
        cost = trained.probe_costs.setdefault(key, {})
        try:
            steps = trained.summary["step"]
            trained.tables[key] = measure_saved(planned.trial, active, registry, trained.weights, steps, cost)
        except (Exception, SystemExit) as error:
            trained.probe_failures[key] = Failure.of(error)
    if not planned.probes and not planned.keep:
        trained.weights = SavedWeights()


def _checkpoint(results: ResultsFolder, jobs: Sequence[tuple[Job, TrialDocument]]) -> Checkpoint:
    """The checkpoint of exactly these trials, in this order."""
    from thalweg.training.checkpoint import Checkpoint

    of = json.dumps([identity(job, skeleton) for job, skeleton in jobs])
    digest = hashlib.sha256("".join(skeleton.hash for _, skeleton in jobs).encode()).hexdigest()[:8]
    # named after the first trial, so that it is removed when that trial has ended
    checkpoint = Checkpoint(results.scratch(jobs[0][1].hash if jobs else "", f"{CHECKPOINT}-{digest}.pt"), of)
    if any(job.fresh for job, _ in jobs):
        checkpoint.remove()
    return checkpoint


class _GroupProgress:
    """Reports each step of a group once, although every member reports it."""

    def __init__(self, progress: Progress, group: Group) -> None:
        self.progress, self.group = progress, group
        self.done = 0

    def __call__(self, index: int, done: int, total: int) -> None:
        if done > self.done:
            self.done = done
            self.progress(self.group, done, total)
