"""Checks the sizes of networks and probes before the first trial trains."""

from __future__ import annotations

from collections.abc import Iterable

from thalweg.contracts.option import resolve
from thalweg.limits import PROBE_BYTES
from thalweg.plan import PlannedTrial
from thalweg.registry import Registry


def check_extents(trials: Iterable[PlannedTrial], registry: Registry) -> None:
    """Count the parameters of each workload's network, and the vectors that the probes wanted on it hold at once.

    Raises:
        TooMuch: a network or a probe is larger than the limits allow.
    """
    found: dict[str, int | None] = {}
    for planned in trials:
        # here, since without trials torch is not needed
        from thalweg.training.extent import check_extent

        trial = planned.trial
        key = str((trial.problem.canonical(), trial.architecture.canonical()))
        if key not in found:
            problem = registry.problem(trial.problem.name)
            architecture = registry.architecture(trial.architecture.name)
            shape = problem.shape(resolve(problem.options, trial.problem.settings, problem.name))
            options = resolve(architecture.options, trial.architecture.settings, architecture.name)
            found[key] = check_extent(architecture, options, shape, planned.workload)
        parameters = found[key] or 0
        for request in planned.probes:
            probe = registry.probe(request.probe.name)
            vectors = probe.vectors(resolve(probe.options, request.probe.settings, probe.name))
            # no basis holds more vectors than they have numbers
            numbers = min(vectors, parameters) * parameters
            PROBE_BYTES.check(numbers * _BYTES[trial.dtype], f"{planned.workload}: probe {request.label!r}")


_BYTES = {"float32": 4, "float64": 8}
