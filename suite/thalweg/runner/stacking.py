"""The rule by which a run decides which trials train in stacks. Its answers are kept beside the results' index."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from thalweg import __version__
from thalweg.printed import kept
from thalweg.registry import Registry
from thalweg.store.listing import index_folder, make_index_folder
from thalweg.store.results import BenchmarkResults
from thalweg.trial import Trial

RULE = 3
"""Counts the changes of the rule, since answers to an earlier one may be on disk."""


class Rule:
    """Decides whether a trial trains in a stack. The answer depends on the trial and thalweg's version alone.

    The decision builds the network, which takes torch and some milliseconds. So the answers are kept in ``stacks.json``
    of the index, with everything that they depend on. The file may be deleted.

    Args:
        registry: where the trials' components are.
        results: the results in whose index the answers are kept.
    """

    def __init__(self, registry: Registry, results: BenchmarkResults) -> None:
        self._registry = registry
        self._results = results
        self._path = index_folder(results) / "stacks.json"
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = found if isinstance(found, dict) else {}
        self._new = False
        self.false: dict[str, None] = {}
        """A sentence for each optimizer that calls itself elementwise and is not."""

    def __call__(self, trial: Trial, title: str, seeds: Collection[int]) -> bool:
        """Whether a trial trains in a stack."""
        return self.reason(trial) is None

    def reason(self, trial: Trial) -> str | None:
        """Why a trial trains alone; None where it trains in a stack."""
        assert trial.stack is not None
        canonical = trial.model_copy(
            update={"seed": 0, "stack": trial.stack.model_copy(update={"slot": 0})}
        ).canonical()
        # the answer may change with a plugin's version where its revision does not
        refs = {"problems": trial.problem, "architectures": trial.architecture, "optimizers": trial.optimizer}
        versions = [self._registry.entry(kind, ref.name).plugin.version for kind, ref in refs.items()]
        text = json.dumps([__version__, RULE, versions, canonical], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        found = self._known.get(key, 0)
        if found is None or isinstance(found, str):
            return self._told(trial, found)
        from thalweg.training.contained import contained
        from thalweg.training.randomness import seeded
        from thalweg.training.stacked.stackable import why_alone

        with contained(threads=1), seeded(0), kept(None):
            self._known[key] = reason = why_alone(trial, self._registry)
        self._new = True
        return self._told(trial, reason)

    def _told(self, trial: Trial, reason: str | None) -> str | None:
        if reason and "is not elementwise" in reason and self._registry.optimizer(trial.optimizer.name).elementwise:
            self.false[reason] = None
        return reason

    def keep(self) -> None:
        """Write the answers, if the folder exists and can be written to."""
        if self._new:
            with suppress(OSError):
                make_index_folder(self._results)
                partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                partial.write_text(json.dumps(self._known, indent=0, sort_keys=True), encoding="utf-8")
                partial.replace(self._path)
                self._new = False
