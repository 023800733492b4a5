"""Trains one trial and saves it. Executors call these functions."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.contracts import Draw
from thalweg.contracts.executor import Progress
from thalweg.contracts.option import resolve
from thalweg.failure import Failure
from thalweg.hooks import call_hook
from thalweg.outcome import TrialResult
from thalweg.plan import PlannedTrial
from thalweg.printed import LOG, kept, outside
from thalweg.registry import Registry, load_registry
from thalweg.runner.done import have_of, is_done
from thalweg.runner.environment import environment
from thalweg.runner.exits import exits_are_failures
from thalweg.runner.interrupts import finish_writing, heed
from thalweg.store.curve import curve_table
from thalweg.store.documents import ENDED, ProbeDocument, TrialDocument
from thalweg.store.sweep import killed
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import weight_tables
from thalweg.store.writing import CHECKPOINT, ResultsFolder

if TYPE_CHECKING:
    from thalweg.training.checkpoint import Checkpoint
    from thalweg.training.trained import Trained


@dataclass(frozen=True)
class Job:
    """A trial to train, and where to save it. Jobs can be pickled, so that a worker elsewhere can do them."""

    planned: PlannedTrial
    results: Path
    benchmark: str
    plugin_files: tuple[Path, ...] = ()
    threads: int = 1
    fresh: bool = False
    """Whether to train although a result is on disk."""
    told: bool = False
    """Whether the hook ``thalweg_trial_started`` has been called already."""


_registries: dict[tuple[Path, ...], Registry] = {}


def use_registry(registry: Registry) -> None:
    """Set the registry for the jobs of this process. A worker process loads its own registry once."""
    _registries[registry.plugin_files] = registry


def registry_of(job: Job) -> Registry:
    """The registry of this process for a job."""
    if job.plugin_files not in _registries:
        use_registry(load_registry(job.plugin_files))
    return _registries[job.plugin_files]


def train_and_save(job: Job, progress: Progress) -> TrialResult:
    """Train a job's trial and save it. A failure becomes a result.

    Only KeyboardInterrupt is raised, because the executor decides what it means.
    """
    try:
        with exits_are_failures():
            return _train_and_save(job, progress, registry_of(job))
    except (Exception, SystemExit) as error:
        heed()
        failure = Failure.of(error)
        return TrialResult("failed", failure.line, failure)


def _train_and_save(job: Job, progress: Progress, registry: Registry) -> TrialResult:
    from thalweg.training.checkpoint import Checkpoint
    from thalweg.training.contained import contained
    from thalweg.training.trained import Trained

    planned, trial = job.planned, job.planned.trial
    results = ResultsFolder(job.results, job.benchmark)
    errors: dict[str, Failure] = {}
    skeleton = skeleton_of(job, registry)
    with results.claim(killed(skeleton)) as folder:
        checkpoint = Checkpoint(results.scratch(trial.hash, f"{CHECKPOINT}.pt"), identity(job, skeleton))
        there = results.find(trial.hash)
        if there is not None and (cached := cached_result(job, there, results, registry)):
            checkpoint.remove()
            return cached
        try:
            if not job.told:
                call_hook(registry, "thalweg_trial_started", errors, trial=trial)
            with contained(job.threads), kept(folder / LOG):
                trained = _trained(job, registry, outside(functools.partial(progress, job)), checkpoint)
        except (Exception, SystemExit) as error:
            failure = Failure.of(error)
            trained = Trained("failed", failure.line, failure, curve_table([]), {})
        heed()
        result, whole = save(planned, skeleton, trained, results, folder, there, errors)
        checkpoint.remove()
    if whole:
        call_hook(registry, "thalweg_trial_finished", errors, trial=trial, result=result)
    return result


def _trained(job: Job, registry: Registry, progress: Callable[[int, int], None], checkpoint: Checkpoint) -> Trained:
    """Train a trial, from the checkpoint if there is one of this training."""
    from thalweg.training.alone import Training
    from thalweg.training.assembly import active_probes, assemble
    from thalweg.training.continuing import TRAINED_ANEW, cannot_continue
    from thalweg.training.randomness import seeded
    from thalweg.training.rate import check_rate
    from thalweg.training.warm_up import warm_up

    planned, trial = job.planned, job.planned.trial
    check_rate(trial, registry)
    state = None if job.fresh else checkpoint.load()
    anew = checkpoint.refused if state is None else cannot_continue(trial, registry, state["step"]) or ""
    if anew:
        state = None
    warmed = {} if trial.budget.seconds is None else {"warm_up_seconds": warm_up(trial, registry)}
    while True:
        with seeded(Draw(trial.seed, None).seed_for("global")):
            probes = active_probes(planned.probes, registry)
            training = Training(assemble(trial, registry), probes, progress, planned.keep, checkpoint)
            if state is not None:
                try:
                    training.restore(state)
                except Exception as error:  # train from the start, with new parts
                    state, anew = None, f"its state could not be loaded ({Failure.of(error).line})"
                    continue
            trained = training.run()
            trained.summary |= warmed | ({TRAINED_ANEW: anew} if anew else {})
            return trained


def identity(job: Job, skeleton: TrialDocument) -> str:
    """The identity of a training, which a checkpoint must have: trial, probes, kept weights and environment."""
    probes = sorted(request.key for request in job.planned.probes)
    return json.dumps([skeleton.hash, probes, job.planned.keep, skeleton.environment], sort_keys=True)


def skeleton_of(job: Job, registry: Registry) -> TrialDocument:
    """The document of a job's trial before it is trained."""
    planned, trial = job.planned, job.planned.trial
    return TrialDocument(
        hash=trial.hash,
        workload=planned.workload,
        optimizer=planned.optimizer,
        trial=trial,
        options=_options(planned, registry),
        status="failed",
        environment=environment(registry, trial.device, job.threads),
    )


def cached_result(job: Job, there: StoredTrial, results: ResultsFolder, registry: Registry) -> TrialResult | None:
    """The result on disk, with missing probes added; None where the trial must be trained."""
    from thalweg.runner.saved import add_probes

    planned = job.planned
    have = have_of(there)
    done = not job.fresh and (
        is_done(have, planned.probes, planned.keep)
        or (
            is_done(have, (), planned.keep)
            and there.document.status == "done"
            and add_probes(results, there, planned.probes, registry, job.threads)
        )
    )
    if done:
        return TrialResult(there.document.status, there.document.reason, path=there.path, cached=True)
    return None


def save(
    planned: PlannedTrial,
    skeleton: TrialDocument,
    trained: Trained,
    results: ResultsFolder,
    folder: Path,
    there: StoredTrial | None,
    errors: dict[str, Failure],
) -> tuple[TrialResult, bool]:
    """Save a training in a claimed folder; the result, and whether it replaces what was on disk."""
    errors |= trained.hook_failures
    document = _document(skeleton, planned, trained)
    weights = weight_tables(trained.weights, trajectory=planned.keep == "trajectory")
    if document.status == "failed" and there is not None and there.document.status in ENDED:
        # an earlier result is worth more than a failure to train the trial again
        return TrialResult("failed", document.reason, document.error, there.path, side_errors=errors), False
    with finish_writing():
        path = results.write(folder, document, trained.curve, trained.tables, weights, older=there)
    for request in planned.probes:
        probe = document.probes[request.key]
        if probe.error is not None and document.status == "done":
            errors[f"probe {request.label}"] = probe.error
    return TrialResult(document.status, document.reason, document.error, path, document.summary, errors), True


def _document(skeleton: TrialDocument, planned: PlannedTrial, trained: Trained) -> TrialDocument:
    probes: dict[str, ProbeDocument] = {}
    for request in planned.probes:
        cost = trained.probe_costs.get(request.key, {})
        if request.key in trained.tables:
            probes[request.key] = ProbeDocument(request=request, status="done", cost=cost)
        else:
            ended = Failure(kind="NotRun", message=f"the trial ended before: {trained.reason or trained.status}")
            error = trained.probe_failures.get(request.key, ended)
            probes[request.key] = ProbeDocument(request=request, status="failed", error=error, cost=cost)
    return skeleton.model_copy(
        update={
            "status": trained.status,
            "reason": trained.reason,
            "error": trained.failure,
            "summary": trained.summary,
            "probes": probes,
        }
    )


def _options(planned: PlannedTrial, registry: Registry) -> dict[str, dict[str, Any]]:
    trial = planned.trial
    return {
        kind: resolve(registry.entry(f"{kind}s", ref.name).component.options, ref.settings, ref.name)
        for kind, ref in (("problem", trial.problem), ("optimizer", trial.optimizer))
    } | {
        "architecture": resolve(
            registry.architecture(trial.architecture.name).options, trial.architecture.settings, trial.architecture.name
        )
    }
