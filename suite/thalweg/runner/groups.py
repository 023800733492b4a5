"""Small trials that differ in seed or in hyperparameters are trained together, in one job, and saved one by one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thalweg.contracts.executor import Progress
from thalweg.contracts.option import resolve
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.runner.interrupts import finish_writing
from thalweg.runner.outcome import TrialResult
from thalweg.runner.work import Job, cached_result, call_hook, identity, registry_of, save, skeleton_of, train_and_save
from thalweg.store.results import CHECKPOINT, BenchmarkResults, killed

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from thalweg.store.documents import TrialDocument
    from thalweg.store.results import StoredTrial
    from thalweg.training.checkpoint import Checkpoint

MOST = 32
"""Trials in a group."""

FLOPS = 3e7
"""Floating-point operations of a step's forward pass above which a trial trains alone: there is little to gain."""

NUMBERS = 4_000_000
"""Parameters of a group, for its memory."""


@dataclass(frozen=True)
class Group:
    """Trials to train in one go."""

    jobs: tuple[Job, ...]


def groups_of(jobs: Sequence[Job], registry: Registry, at_once: int | None) -> list[Group]:
    """The jobs in groups, in the order of each one's first.

    Args:
        jobs: what is to be done.
        registry: where their components are.
        at_once: how many groups will be trained at the same time, so that there is work for all; None to leave each
            job by itself.
    """
    if at_once is None:
        return [Group((job,)) for job in jobs]
    together: dict[str, list[Job]] = {}
    most: dict[str, int] = {}
    for job in jobs:
        key = _key(job, registry)
        if key is not None and key not in most:
            most[key] = _most(job, registry)
        together.setdefault(job.planned.trial.hash if key is None or most[key] < 2 else key, []).append(job)
    share = math.ceil(len(jobs) / at_once)
    groups = []
    for key, members in together.items():
        size = max(1, min(MOST, share, most.get(key, 1)))
        # pieces as equal as can be
        size = math.ceil(len(members) / math.ceil(len(members) / size))
        groups += [Group(tuple(members[start : start + size])) for start in range(0, len(members), size)]
    return groups


def _key(job: Job, registry: Registry) -> str | None:
    """Jobs of equal keys may be trained together; None where it trains alone."""
    from thalweg.training.stacked import group_key, may_fit

    planned = job.planned
    try:
        if planned.probes or may_fit(planned.trial, registry):
            return None
    except Exception:  # a plugin's mistake costs its own trials, which will tell of it
        return None
    return f"{planned.keep}/{group_key(planned.trial)}"


def _most(job: Job, registry: Registry) -> int:
    """How many networks of this size may be in a group; 1 where they are too large to gain from it."""
    import torch

    trial = job.planned.trial
    try:
        problem, architecture = registry.problem(trial.problem.name), registry.architecture(trial.architecture.name)
        given = resolve(problem.options, trial.problem.settings, problem.name)
        examples = problem.sizes(given).get("train", 0)
        batch = examples if trial.batch_size == "full" else trial.batch_size
        options = resolve(architecture.options, trial.architecture.settings, architecture.name)
        shape = problem.shape(given)
        with torch.random.fork_rng():
            module = architecture.build(options, shape).eval()
        inputs = torch.zeros(1, *shape.input, dtype=torch.long if shape.task == "language" else None)
        flops = _flops(module, inputs) * batch
    except Exception:  # as above
        return 1
    numbers = sum(parameter.numel() for parameter in module.parameters())
    return 1 if flops > FLOPS else max(1, NUMBERS // max(1, numbers))


def _flops(module: nn.Module, inputs: Tensor) -> int:
    """Roughly those of a forward pass: two for each use of a number in a layer's weight.

    (``thalweg.training.size`` is exact, and imports for longer than a small group trains.)
    """
    import torch

    used: list[int] = []

    def count(layer: nn.Module, _: object, out: object) -> None:
        weight = getattr(layer, "weight", None)
        if isinstance(weight, torch.Tensor) and isinstance(out, torch.Tensor) and weight.dim() > 1:
            used.append(2 * weight.numel() * (out.numel() // weight.shape[0]))

    for layer in module.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        module(inputs)
    return sum(used)


def train_and_save_group(group: Group, progress: Progress) -> list[TrialResult]:
    """Train a group and put each trial on disk; one at a time where that cannot be done together. Never raises.

    KeyboardInterrupt passes through.
    """
    jobs = list(group.jobs)
    if len(jobs) > 1:
        told: list[bool] = [False] * len(jobs)
        try:
            return _train_and_save_group(group, progress, told)
        except (Exception, SystemExit):
            jobs = [replace(job, told=job.told or one) for job, one in zip(jobs, told, strict=True)]
    return [train_and_save(job, lambda _, done, total: progress(group, done, total)) for job in jobs]


def _train_and_save_group(group: Group, progress: Progress, told: list[bool]) -> list[TrialResult]:
    from thalweg.training.contained import contained
    from thalweg.training.stacked import train_together

    first = group.jobs[0]
    registry = registry_of(first)
    results = BenchmarkResults(first.results, first.benchmark)
    found: dict[int, TrialResult] = {}
    errors: list[dict[str, Failure]] = [{} for _ in group.jobs]
    own: set[int] = set()
    with ExitStack() as claims:
        left: list[tuple[int, Job, TrialDocument, Path, StoredTrial | None]] = []
        # in one order everywhere, so that two runners never wait for each other
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
            call_hook(registry, "thalweg_trial_started", errors[index], trial=job.planned.trial)
            told[index] = True
        trials = [job.planned.trial for _, job, *_ in left]
        members = _Told(progress, group, len(trials))
        checkpoint = _checkpoint(results, [(job, skeleton) for _, job, skeleton, *_ in left])
        with contained(first.threads):
            trained = train_together(trials, registry, members, first.planned.keep, checkpoint) if trials else []
        claims.enter_context(finish_writing())
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


def _checkpoint(results: BenchmarkResults, jobs: Sequence[tuple[Job, TrialDocument]]) -> Checkpoint:
    """Of exactly these trials, in this order."""
    from thalweg.training.checkpoint import Checkpoint

    of = json.dumps([identity(job, skeleton) for job, skeleton in jobs])
    digest = hashlib.sha256("".join(skeleton.hash for _, skeleton in jobs).encode()).hexdigest()[:8]
    # beside those of its first trial: it goes when that has ended
    checkpoint = Checkpoint(results.scratch(jobs[0][1].hash if jobs else "", f"{CHECKPOINT}-{digest}.pt"), of)
    if any(job.fresh for job, _ in jobs):
        checkpoint.remove()
    return checkpoint


class _Told:
    """A group's progress, from that of its members: told once for all of them."""

    def __init__(self, progress: Progress, group: Group, members: int) -> None:
        self.progress, self.group = progress, group
        self.done = 0

    def __call__(self, index: int, done: int, total: int) -> None:
        if done > self.done:
            self.done = done
            self.progress(self.group, done, total)
