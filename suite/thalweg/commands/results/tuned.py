"""What an export says of trials of a benchmark that tunes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.plan import Choice
from thalweg.present.loaded import read_loaded
from thalweg.registry import Registry
from thalweg.store.results import BenchmarkResults


def marks_of(results: BenchmarkResults, registry: Registry) -> Mapping[str, dict[str, Any]]:
    """Further columns by a trial's hash: whether tuning trained it, or what the choice of its setting adds.

    Empty for a benchmark that does not tune, or whose plan cannot be made.
    """
    view = read_loaded(results, registry).view
    if view.plan is None or not view.plan.tuning:
        return {}
    marks: dict[str, dict[str, Any]] = {hash_: {"tuning": True} for hash_ in view.everything.column("hash")}
    ranked = view.seen.trials
    for hash_, workload, optimizer in ranked[["hash", "workload", "optimizer"]].itertuples(index=False):
        choice = view.plan.choice.get((workload, optimizer), Choice())
        marks[hash_] = {"choice_variance": choice.linear, "choice_variance_log": choice.log}
    return marks
