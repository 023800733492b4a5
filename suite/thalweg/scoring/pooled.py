"""Pooled normalised scores of many trials: interquartile mean and probability of improvement (Agarwal et al. 2021)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

LEAST = 20
"""Trials that an optimizer needs for a bootstrap of its pooled scores."""
REPETITIONS = 2000
"""Of the bootstrap."""

Array = np.ndarray[Any, Any]
Strata = Mapping[str, Array]
"""By workload one score for each seed."""


@dataclass
class Pooled:
    """Of the optimizers that have enough trials."""

    means: pd.DataFrame
    """Columns optimizer, trials, iqm, low, high, best first."""
    improvement: pd.DataFrame
    """A row an ordered pair: optimizer, over, probability, low, high."""
    refused: dict[str, int] = field(default_factory=dict)
    """Optimizers with fewer than LEAST trials, and how many those are."""


def too_few(found: Pooled) -> list[str]:
    """A sentence that says who has too few trials, where somebody has."""
    if not found.refused:
        return []
    counts = {*found.refused.values()}
    few = ", ".join(f"{name} has {count}" for name, count in found.refused.items())
    told = f"each has {counts.pop()}" if found.means.empty and len(counts) == 1 else few
    return [f"interquartile means take {LEAST} trials an optimizer, over all workloads: {told}"]


def interquartile_mean(scores: Array) -> Any:
    """The mean of the middle half of the last axis: floor(n / 4) of the smallest and of the largest are left out.

    >>> float(interquartile_mean(np.array([0.0, 1.0, 2.0, 9.0])))
    1.5
    """
    n = scores.shape[-1]
    cut = n // 4
    return np.sort(scores, -1)[..., cut : n - cut].mean(-1)


def improvement(one: Strata, other: Strata) -> float:
    """The probability that a trial of one has a better score than a trial of the other on the same workload.

    P(X > Y) + P(X = Y) / 2 over all pairs of trials (Mann & Whitney's U over n m), averaged over the workloads that
    both have.
    """
    both = [name for name in one if name in other]
    return float(np.mean([_over(one[name], other[name]) for name in both]))


def _over(one: Array, other: Array) -> Any:
    """Of the last axes, for every repetition before them."""
    difference = one[..., :, None] - other[..., None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean((-2, -1))


def pooled(areas: pd.Series) -> Pooled:
    """Interquartile means and probabilities of improvement, of scores by optimizer, workload and seed.

    95% intervals are of the percentile bootstrap, stratified: seeds are drawn anew within each workload, so that every
    repetition has as many trials on each as there were (REPETITIONS, seeded). With fewer than LEAST trials such
    intervals are too short, and then there are none.
    """
    scores: dict[str, dict[str, Array]] = {}
    groups: Any = areas.groupby(level=["optimizer", "workload"], sort=True)
    for (optimizer, workload), values in groups:
        scores.setdefault(str(optimizer), {})[str(workload)] = values.to_numpy(dtype=float)
    counts = {name: sum(map(len, each.values())) for name, each in scores.items()}
    enough = {name: each for name, each in scores.items() if counts[name] >= LEAST}
    draw = np.random.default_rng(0)
    drawn = {name: {key: _again(values, draw) for key, values in each.items()} for name, each in enough.items()}
    means = pd.DataFrame(_means(enough, drawn), columns=["optimizer", "trials", "iqm", "low", "high"])
    pairs = pd.DataFrame(_pairs(enough, drawn), columns=["optimizer", "over", "probability", "low", "high"])
    return Pooled(
        means.sort_values(["iqm", "optimizer"], ascending=[False, True], ignore_index=True),
        pairs,
        {name: count for name, count in counts.items() if count < LEAST},
    )


def _again(values: Array, draw: np.random.Generator) -> Array:
    return np.asarray(values[draw.integers(len(values), size=(REPETITIONS, len(values)))])


def _means(scores: Mapping[str, Strata], drawn: Mapping[str, Strata]) -> Iterator[tuple[Any, ...]]:
    for name, each in scores.items():
        values = np.concatenate(list(each.values()))
        low, high = np.quantile(interquartile_mean(np.concatenate(list(drawn[name].values()), -1)), [0.025, 0.975])
        yield name, len(values), float(interquartile_mean(values)), float(low), float(high)


def _pairs(scores: Mapping[str, Strata], drawn: Mapping[str, Strata]) -> Iterator[tuple[Any, ...]]:
    for one, other in itertools.combinations(scores, 2):
        both = [name for name in scores[one] if name in scores[other]]
        if not both:
            continue
        value = improvement(scores[one], scores[other])
        many = np.mean([_over(drawn[one][name], drawn[other][name]) for name in both], axis=0)
        low, high = map(float, np.quantile(many, [0.025, 0.975]))
        yield one, other, value, low, high
        yield other, one, 1 - value, 1 - high, 1 - low
