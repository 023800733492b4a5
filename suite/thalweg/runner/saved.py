"""Measures probes on trials that were saved with their weights, without training them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from thalweg import guard
from thalweg.contracts.probe import SavedWeights
from thalweg.errors import UserError
from thalweg.failure import Failure
from thalweg.registry import Registry
from thalweg.runner.interrupts import heed
from thalweg.store.documents import ProbeDocument
from thalweg.store.overlay import Overlay
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import read_weights
from thalweg.store.writing import ResultsFolder
from thalweg.training.assembly import active_probes
from thalweg.training.contained import contained
from thalweg.training.measure import lacking, measure_saved
from thalweg.trial import ProbeRequest


def add_probes(
    results: ResultsFolder, trial: StoredTrial, requests: Sequence[ProbeRequest], registry: Registry, threads: int
) -> bool:
    """Measure the probes that a trial lacks on its saved weights; False, with nothing added, if that is impossible.

    The trial must be trained again if a probe measures during training, if the weights that it needs were not saved or
    cannot be read, or if it fails. A probe may fail for want of the optimizer at work, which saved weights do not have.
    """
    missing = [request for request in requests if not _has(trial, request)]
    try:
        weights = read_weights(trial.files)
    except UserError:
        return False
    for active in active_probes(tuple(missing), registry):
        if not set(active.probe.when) <= {"start", "end", "pair"} or lacking(active, weights, pair=False):
            return False
    found = [measure(results, trial, request, registry, weights, threads=threads) for request in missing]
    if any(document.error is not None for document, _ in found):
        return False
    for document, table in found:
        results.add_probe(trial, document, table)
    return True


def measure(
    results: ResultsFolder | Overlay,
    trial: StoredTrial,
    request: ProbeRequest,
    registry: Registry,
    weights: SavedWeights,
    *,
    threads: int = 1,
    other: SavedWeights | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ProbeDocument, pd.DataFrame | None]:
    """A probe's table on a saved trial, or why it failed. Only KeyboardInterrupt is raised."""
    (active,) = active_probes((request,), registry)
    scratch = results.scratch(trial.document.hash, request.key)
    cost: dict[str, float] = {}
    try:
        asked, steps = trial.document.trial, trial.document.summary.get("step")
        if steps is None:
            raise ValueError("trial.json does not say how many steps it trained for: summary.step is missing")
        guard.room(scratch.parent)
        guard.room(scratch)
        with contained(threads):
            table = measure_saved(
                asked, active, registry, weights, steps, cost, other=other, scratch=scratch, progress=progress
            )
    except (Exception, SystemExit) as error:
        heed()
        return ProbeDocument(request=request, status="failed", error=Failure.of(error), cost=cost), None
    guard.remove_left(scratch)
    heed()
    return ProbeDocument(request=request, status="done", cost=cost), table


def _has(trial: StoredTrial, request: ProbeRequest) -> bool:
    probe = trial.document.probes.get(request.key)
    return probe is not None and probe.status == "done"
