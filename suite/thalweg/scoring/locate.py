"""Finds the trials of a plan among the trials on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from thalweg.plan import PlannedTrial, PlannedTrials
from thalweg.store.stored import Stored
from thalweg.store.timings import configuration

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Located:
    """Where planned trials are on disk.

    Two trials on disk may have one hash, where files were copied. The later one counts.
    """

    numbers: Array
    """For each planned trial its number in ``Stored``; -1 where the trial is not on disk."""
    inside: Array
    """For each trial on disk whether it is planned."""


def locate(trials: Sequence[PlannedTrial], stored: Stored) -> Located:
    """Find planned trials on disk.

    Groups of trials are found by configuration and seed, which together determine a trial's hash. That takes no hash of
    any trial.
    """
    if not isinstance(trials, PlannedTrials):
        return _by_hash([planned.trial.hash for planned in trials], stored)
    labels, seeds = stored.trials.index.to_numpy(), stored.trials["seed"].to_numpy()
    codes, configurations = pd.factorize(stored.trials["configuration"])
    # by configuration, then by seed, then in the order on disk
    order = np.lexsort((seeds, codes))
    bounds = np.searchsorted(codes[order], np.arange(len(configurations) + 1))
    place_of = {str(key): (bounds[i], bounds[i + 1]) for i, key in enumerate(configurations)}
    inside = np.zeros(len(labels), dtype=bool)
    numbers = [np.zeros(0, np.int64)]
    for group in trials.groups:
        wanted = np.asarray(group.seeds, dtype=np.int64)
        low, high = place_of.get(configuration(group.base), (0, 0))
        rows = order[low:high]
        there = seeds[rows]
        last = np.searchsorted(there, wanted, side="right")
        found = last > np.searchsorted(there, wanted, side="left")
        numbers.append(np.where(found, labels[rows[last - 1]] if len(rows) else -1, -1))
        inside[rows[np.isin(there, wanted)]] = True
    return Located(np.concatenate(numbers), inside)


def _by_hash(hashes: Sequence[str], stored: Stored) -> Located:
    there = stored.column("hash")
    number_of = dict(zip(there, stored.trials.index.tolist(), strict=True))
    wanted = set(hashes)
    numbers = np.array([number_of.get(key, -1) for key in hashes], dtype=np.int64)
    return Located(numbers, np.array([key in wanted for key in there], dtype=bool))
