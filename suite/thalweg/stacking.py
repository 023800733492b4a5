"""Decides whether trials of a benchmark train alone or in a stack, for a run and for results on disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property

from thalweg.trial import Stack, Trial

SIZE = 4
"""Enters the hash of a batched trial; see ``thalweg.trial.Stack``."""

Stacks = Callable[[Trial, str, Collection[int]], bool]
"""Whether a trial trains in a stack. Called with the trial, the pair's name and the wanted seeds."""


def alone(trial: Trial, title: str, seeds: Collection[int]) -> bool:
    """Every trial trains alone."""
    return False


def seeds_stack() -> Stack:
    """For trials that differ in their seed."""
    return Stack(size=SIZE, slot=0)


def settings_stack(number: int) -> Stack:
    """For number ``number`` of the settings that tuning tries of an optimizer."""
    return Stack(size=SIZE, slot=number % SIZE, rows=True)


def group_key(trial: Trial) -> str:
    """A key that is equal for trials that may train as one program.

    Such trials differ only in the seed, or, where the optimizer has rows, also in hyperparameters that are numbers.
    """
    optimizer, stack = trial.optimizer, trial.stack
    if stack is not None and stack.rows:
        words = {
            name: value
            for name, value in optimizer.settings.items()
            if isinstance(value, bool) or not isinstance(value, int | float)
        }
        optimizer = optimizer.model_copy(update={"options": words, "files": {}})
        stack = stack.model_copy(update={"slot": 0})
    document = trial.model_copy(update={"optimizer": optimizer, "stack": stack, "seed": 0}).canonical()
    return json.dumps([document, trial.problem.files, trial.architecture.files], sort_keys=True)


class OnDisk:
    """Decides from the results on disk whether a pair's stacked trials count, or the trials that were trained alone.

    Results never mix both. The kind counts of which the disk has more of the wanted trials.

    Args:
        hashes: the hash of every trial on disk.
        counts: how many trials of each configuration are on disk; see ``thalweg.store.timings.configuration``.
    """

    def __init__(self, hashes: Iterable[str], counts: Mapping[str, int]) -> None:
        self._hashes = hashes
        self._counts = Counter(counts)
        self._titles: dict[str, None] = {}
        self.left_out: set[str] = set()
        """Configurations on disk that do not count, since their pair's trials of the other kind do."""

    @cached_property
    def _there(self) -> set[str]:
        return set(self._hashes)

    def __call__(self, trial: Trial, title: str, seeds: Collection[int]) -> bool:
        """Whether the disk has at least as many wanted trials of the stack as trained alone."""
        kinds = [trial.model_copy(update={"seed": 0, "stack": stack}) for stack in (trial.stack, None)]
        stacked, apart = (self._counts[kind.hash] for kind in kinds)
        if not stacked or not apart:
            return stacked > 0
        asked = [sum(one.hash in self._there for one in kind.at_seeds(seeds)) for kind in kinds]
        takes = asked[0] >= asked[1]
        self.left_out.add(kinds[takes].hash)
        self._titles[title] = None
        return takes

    @property
    def count(self) -> int:
        """The number of trials that do not count."""
        return sum(self._counts[key] for key in self.left_out)

    @property
    def notes(self) -> list[str]:
        """A sentence about the trials that do not count; empty where all count."""
        if not self._titles:
            return []
        titles = list(self._titles)
        named = ", ".join(titles[:3]) + (f" and {len(titles) - 3} more" if len(titles) > 3 else "")
        why = "whose float32 numbers may differ by more than rounding"
        rarer = f"{self.count} of the rarer kind do not count"
        return [f"{named}: trials are there batched and trained alone, {why}: {rarer}"]
