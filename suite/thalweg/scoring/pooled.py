"""Pooled normalised scores of many trials: interquartile mean and probability of improvement (Agarwal et al. 2021)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

MIN_TRIALS = 20
"""The fewest trials of an optimizer for a bootstrap of its pooled scores."""
REPETITIONS = 2000
"""Repetitions of the bootstrap."""
DRAWS = 1_000_000
"""The most trials drawn for an optimizer. More than 500 trials get fewer repetitions, but at least a tenth of them."""

Array = np.ndarray[Any, Any]
Strata = Mapping[str, Array]
"""The scores of the seeds, by workload."""


@dataclass
class Pooled:
    """The pooled scores of the optimizers that have enough trials."""

    means: pd.DataFrame
    """Columns optimizer, trials, iqm, low, high, best first."""
    improvement: pd.DataFrame
    """A row for each ordered pair: optimizer, over, probability, low, high."""
    refused: dict[str, int] = field(default_factory=dict)
    """Optimizers with fewer than MIN_TRIALS trials, with the numbers of their trials."""


def too_few(found: Pooled) -> list[str]:
    """A sentence about the optimizers that have too few trials; empty if all have enough."""
    if not found.refused:
        return []
    counts = {*found.refused.values()}
    few = ", ".join(f"{name} has {count}" for name, count in found.refused.items())
    told = f"each has {counts.pop()}" if found.means.empty and len(counts) == 1 else few
    return [f"interquartile means take {MIN_TRIALS} trials an optimizer, over all workloads: {told}"]


def interquartile_mean(scores: Array) -> Any:
    """The mean of the middle half of the last axis, without the floor(n / 4) smallest and largest numbers.

    >>> float(interquartile_mean(np.array([0.0, 1.0, 2.0, 9.0])))
    1.5
    """
    n = scores.shape[-1]
    cut = n // 4
    return np.partition(scores, (cut, n - cut - 1), -1)[..., cut : n - cut].mean(-1)


def repetitions(trials: int) -> int:
    """The repetitions for a number of trials: REPETITIONS, and fewer for very many, whose intervals are narrow."""
    return max(REPETITIONS // 10, min(REPETITIONS, DRAWS // max(trials, 1)))


def pooled(areas: pd.Series) -> Pooled:
    """Interquartile means and probabilities of improvement of scores by optimizer, workload and seed.

    The probability of improvement of one optimizer over another is P(X > Y) + P(X = Y) / 2, with X and Y the scores of
    a trial of each on one workload. It is computed over all pairs of trials (Mann & Whitney's U over n m), and averaged
    over the workloads that both have.

    95% intervals are of the percentile bootstrap, stratified: seeds are drawn anew within each workload, so that every
    repetition has as many trials on each as there were (``repetitions``, seeded). An optimizer with fewer than
    MIN_TRIALS trials, whose interval would be too short, has none.
    """
    scores: dict[str, dict[str, Array]] = {}
    groups: Any = areas.groupby(level=["optimizer", "workload"], sort=True)
    for (optimizer, workload), values in groups:
        scores.setdefault(str(optimizer), {})[str(workload)] = values.to_numpy(dtype=float)
    counts = {name: sum(map(len, each.values())) for name, each in scores.items()}
    enough = {name: each for name, each in scores.items() if counts[name] >= MIN_TRIALS}
    draw = np.random.default_rng(0)
    often = repetitions(max(counts.values(), default=0))
    # the first row of each is what was there
    drawn = {
        name: {workload: _again(values, often, draw) for workload, values in each.items()}
        for name, each in enough.items()
    }
    means = pd.DataFrame(_means(drawn), columns=["optimizer", "trials", "iqm", "low", "high"])
    pairs = pd.DataFrame(_pairs(drawn), columns=["optimizer", "over", "probability", "low", "high"])
    return Pooled(
        means.sort_values(["iqm", "optimizer"], ascending=[False, True], ignore_index=True),
        pairs,
        {name: count for name, count in counts.items() if count < MIN_TRIALS},
    )


def _again(values: Array, often: int, draw: np.random.Generator) -> Array:
    return np.vstack([values, values[draw.integers(len(values), size=(often, len(values)))]])


def _estimate(values: Array) -> tuple[float, float, float]:
    """The estimate from the trials themselves, and the percentile interval of the repetitions."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def _means(drawn: Mapping[str, Strata]) -> Iterator[tuple[Any, ...]]:
    for name, each in drawn.items():
        values = np.concatenate(list(each.values()), -1)
        yield name, values.shape[-1], *_estimate(interquartile_mean(values))


def _pairs(drawn: Mapping[str, Strata]) -> Iterator[tuple[Any, ...]]:
    names = list(drawn)
    if len(names) < 2:
        return
    rows = len(next(iter(next(iter(drawn.values())).values())))
    total = np.zeros((rows, len(names), len(names)))
    shared = np.zeros((len(names), len(names)))
    for workload in sorted({workload for each in drawn.values() for workload in each}):
        places = [place for place, name in enumerate(names) if workload in drawn[name]]
        here = np.ix_(range(rows), places, places)
        total[here] += improvements([drawn[names[place]][workload] for place in places])
        shared[np.ix_(places, places)] += 1
    for i, j in itertools.permutations(range(len(names)), 2):
        if shared[i, j]:
            yield names[i], names[j], *_estimate(total[:, i, j] / shared[i, j])


def improvements(scores: Sequence[Array]) -> Array:
    """P(X > Y) + P(X = Y) / 2 for every two samples (repetitions, trials), as (repetitions, samples, samples).

    The computation counts each value, because many trials have very many pairs.
    """
    values = np.unique(np.concatenate([sample[0] for sample in scores]))
    rows = len(scores[0])
    counts = np.empty((rows, len(scores), len(values)))
    offset = len(values) * np.arange(rows)[:, None]
    for place, sample in enumerate(scores):
        codes = np.searchsorted(values, sample) + offset
        counts[:, place] = np.bincount(codes.ravel(), minlength=counts[:, 0].size).reshape(rows, -1) / sample.shape[-1]
    below = np.cumsum(counts, -1) - counts / 2
    return np.asarray(counts @ below.swapaxes(-1, -2))
