"""Whether trials of a benchmark train alone or in a stack: as a run decides it, and as results on disk have it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable

from thalweg.trial import Stack, Trial

Stacks = Callable[[Trial, str], bool]
"""Asked of a trial with a place in a stack, and the names of its workload and optimizer: whether it has that place."""


def alone(trial: Trial, title: str) -> bool:
    """Every trial trains alone."""
    return False


def stack_size(trials: int) -> int:
    """Places of a stack for so many trials of a benchmark file: the numbers depend on it, so it grows in one step."""
    return 4 if trials <= 4 else 8


def seeds_stack(seeds: int) -> Stack:
    """For trials that differ in their seed; ``seeds`` are the benchmark file's, whatever the command line adds."""
    return Stack(size=stack_size(seeds), slot=0)


def settings_stack(settings: int, number: int) -> Stack:
    """For number ``number`` of the settings that tuning tries of an optimizer, ``settings`` in all."""
    size = stack_size(settings)
    return Stack(size=size, slot=number % size, rows=True)


def group_key(trial: Trial) -> str:
    """Trials of equal keys may share a stack: all but the seed is equal, and in rows the numbers among hyperparameters.

    They must have different places in it.
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
    """The way in which more of a pair's trials were trained: the other way's are left out, so that no board mixes them.

    Args:
        configurations: of every trial on disk, see ``thalweg.store.timings.configuration``.
    """

    def __init__(self, configurations: Iterable[str]) -> None:
        self._counts = Counter(configurations)
        self._left_out: dict[str, tuple[str, int]] = {}

    def __call__(self, trial: Trial, title: str) -> bool:
        """Whether at least as many were trained in the stack as alone; remembers where both were."""
        stacked, apart = (
            self._counts[trial.model_copy(update=update).hash] for update in ({"seed": 0}, {"seed": 0, "stack": None})
        )
        if stacked and apart:
            self._left_out[f"{title} {trial.optimizer.options}"] = (title, min(stacked, apart))
        return stacked > 0 and stacked >= apart

    @property
    def notes(self) -> list[str]:
        """One sentence that says what is left out, where anything is."""
        if not self._left_out:
            return []
        titles = list(dict.fromkeys(title for title, _ in self._left_out.values()))
        named = ", ".join(titles[:3]) + (f" and {len(titles) - 3} more" if len(titles) > 3 else "")
        count = sum(trials for _, trials in self._left_out.values())
        why = "whose float32 numbers differ by more than rounding"
        return [f"{named}: trials are there batched and trained alone, {why}: {count} of the rarer kind do not count"]
