"""Runs claims: trains what they need as one run, then measures the seeds that are not on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from thalweg.claims.context import TrainedTrial
from thalweg.claims.experiments import Trained, experiments_of, results_of, train, without_data
from thalweg.claims.identity import identity_of
from thalweg.claims.measure import MeasureJob, SeedReport, measure_claim, use_registry
from thalweg.claims.needs import needs_of
from thalweg.contracts.claim import Experiment
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.outcome import RunReport
from thalweg.registry import Entry, Registry
from thalweg.runner.options import RunOptions
from thalweg.runner.run import Watcher
from thalweg.runner.warm import warm_processes
from thalweg.selection import Device
from thalweg.store.claims import ClaimsFolder


@dataclass
class ClaimsReport:
    """The outcome of a run of claims."""

    tier: str
    measured: dict[str, list[SeedReport]] = field(default_factory=dict)
    """The seeds of each claim that was measured or was on disk."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """Claims that could not be measured at all, by id."""
    trained: RunReport | None = None
    seconds: float = 0.0
    outcome: Literal["complete", "interrupted", "stopped"] = "complete"

    @property
    def failed(self) -> list[tuple[str, Failure]]:
        """Every failure of a claim, and of the trials behind the claims."""
        seeds = [
            (f"{id_}, seed {one.seed}", one.error) for id_, each in self.measured.items() for one in each if one.error
        ]
        return [*self.failures.items(), *seeds]

    @property
    def unsaved(self) -> int:
        """The number of trials that could not be saved."""
        return sum(result.path is None for _, result in self.trained.trained) if self.trained else 0


@dataclass(frozen=True)
class ClaimsOptions:
    """How claims are run; nothing of this changes a verdict."""

    run: RunOptions = field(default_factory=RunOptions)
    workers: int = 1
    """How many claims are measured at once."""
    device: Device = "cpu"
    batching: bool = True
    fresh: bool = False


def run_claims(
    entries: Sequence[Entry], tier: str, registry: Registry, root: Path, watcher: Watcher, options: ClaimsOptions
) -> ClaimsReport:
    """Train the experiments of the claims, then measure each claim; what is on disk is not done again.

    KeyboardInterrupt ends the run. What had ended before is kept.

    Raises:
        UserError: the results are packed, or a claim asks for an experiment that is no benchmark.
    """
    report = ClaimsReport(tier)
    started = time.perf_counter()
    ClaimsFolder(root)  # refuses packed results before anything is trained
    identities: dict[str, dict[str, Any]] = {}
    needs: dict[str, tuple[Experiment, ...]] = {}
    for entry in entries:
        try:
            identities[entry.name] = identity_of(entry, tier, registry, options.device)
            needs[entry.name] = needs_of(entry, tier)
        except UserError as error:
            if len(entries) == 1:
                raise
            report.failures[entry.name] = Failure.of(error)

    def train_all() -> Trained:
        return train(experiments_of(needs), registry, root, watcher, options.run, options.device, options.batching)

    try:
        trained = train_all()
    except UserError:
        # data that cannot be had costs the claims that need it, and no other
        without = without_data(needs, registry)
        if not without or len(without) == len(needs):
            raise
        report.failures |= {name: Failure.of(error) for name, error in without.items()}
        needs = {name: each for name, each in needs.items() if name not in without}
        trained = train_all()
    entries = [entry for entry in entries if entry.name in needs]
    report.trained = trained.report
    for reason in trained.false:
        watcher.say(f"{reason}: it says elementwise = True, and its trials train one at a time")
    if trained.report is not None and trained.report.outcome != "complete":
        report.outcome = trained.report.outcome
    else:
        seconds = _Seconds(trained, root)
        jobs = [
            MeasureJob(
                id=entry.name,
                tier=tier,
                root=root.absolute(),
                identity=identities[entry.name],
                planned={one.name: tuple(trained.plans[one.name].trials) for one in needs[entry.name]},
                training_seconds=sum(seconds.of(one.name) for one in needs[entry.name]),
                plugin_files=registry.plugin_files,
                fresh=options.fresh,
            )
            for entry in entries
        ]
        _measure(jobs, registry, watcher, report, options.workers)
    report.seconds = time.perf_counter() - started
    return report


class _Seconds:
    """The time that the trials of an experiment took, tuning included."""

    def __init__(self, trained: Trained, root: Path) -> None:
        self._trained, self._results = trained, results_of(root)
        self._known: dict[str, float] = {}

    def of(self, experiment: str) -> float:
        if experiment not in self._known:
            plan = self._trained.plans[experiment]
            trials = {one.trial.hash: one for one in (*plan.tuning, *plan.trials)}.values()
            self._known[experiment] = sum(TrainedTrial(one, self._results).seconds for one in trials)
        return self._known[experiment]


def _measure(
    jobs: Sequence[MeasureJob], registry: Registry, watcher: Watcher, report: ClaimsReport, workers: int
) -> None:
    use_registry(registry)
    try:
        with _each(jobs, workers) as outcomes:
            for job, outcome in outcomes:
                if isinstance(outcome, Failure):
                    report.failures[job.id] = outcome
                    continue
                report.measured[job.id] = outcome
                new = [one for one in outcome if not one.cached]
                if new:
                    seeds = "1 seed" if len(new) == 1 else f"{len(new)} seeds"
                    watcher.say(f"{job.id}: {seeds} measured in {sum(one.seconds for one in new):.1f} s")
    except KeyboardInterrupt:
        report.outcome = "interrupted"


@contextmanager
def _each(
    jobs: Sequence[MeasureJob], workers: int
) -> Iterator[Iterator[tuple[MeasureJob, list[SeedReport] | Failure]]]:
    """Each job with its outcome, in this process or in several."""
    if workers <= 1 or len(jobs) <= 1:
        yield ((job, _outcome(job)) for job in jobs)
        return
    from pebble import ProcessPool

    pool = ProcessPool(max_workers=min(workers, len(jobs)), context=warm_processes())
    try:
        waiting = [(job, pool.schedule(measure_claim, args=[job])) for job in jobs]

        def results() -> Iterator[tuple[MeasureJob, list[SeedReport] | Failure]]:
            for job, future in waiting:
                try:
                    yield job, future.result()
                except Exception as error:  # the worker ended, or the claim's folder cannot be written
                    yield job, Failure.of(error)

        yield results()
        pool.close()  # type: ignore[no-untyped-call]
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _outcome(job: MeasureJob) -> list[SeedReport] | Failure:
    try:
        return measure_claim(job)
    except Exception as error:
        return Failure.of(error)
