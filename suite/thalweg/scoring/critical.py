"""The critical difference of mean ranks over workloads (Demšar 2006), for its diagram."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

MIN_WORKLOADS = 12
"""The fewest workloads for which the approximation behind the critical difference holds."""
LEVEL = 0.05


@dataclass(frozen=True)
class CriticalDifference:
    """The contents of a critical-difference diagram."""

    ranks: pd.Series
    """The mean rank of each optimizer over workloads, the smallest first. Rank 1 is the best."""
    difference: float
    """Mean ranks that differ by less are not told apart. If ``p`` is 0.05 or more, no ranks are told apart."""
    p: float
    """The p-value of Friedman's test: the probability of such different ranks if all optimizers were alike."""
    groups: list[tuple[str, ...]]
    """The largest sets of optimizers that are not told apart, in the order of ranks, without sets of one."""
    workloads: int


def refusal(workloads: int, optimizers: int) -> str:
    """Why there is no critical difference for these numbers of workloads and optimizers; empty where there is one."""
    if workloads < MIN_WORKLOADS:
        return f"a critical-difference diagram takes {MIN_WORKLOADS} workloads with a target, here are {workloads}"
    if optimizers < 3:
        return f"a critical-difference diagram takes 3 optimizers, here are {optimizers}"
    return ""


def critical_difference(table: pd.DataFrame) -> CriticalDifference:
    """Friedman's test and Nemenyi's critical difference, for scores (workloads, optimizers) of which larger is better.

    Let there be N workloads and k optimizers with mean ranks R_j, where ties share their ranks. The critical difference
    is q sqrt(k (k + 1) / (6 N)). q is the upper 5% point of the studentized range of k with infinite degrees of
    freedom, divided by sqrt(2) (Demšar 2006, *Statistical comparisons of classifiers over multiple data sets*, JMLR 7).
    Ranks depend on which optimizers are compared.
    """
    # takes half a second
    from scipy.stats import friedmanchisquare, studentized_range

    n, k = table.shape
    ranks = table.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    difference = float(studentized_range.ppf(1 - LEVEL, k, np.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    values = table.to_numpy()
    same = bool((values == values[:, :1]).all())  # then the test divides by zero
    p = 1.0 if same else float(friedmanchisquare(*(table[name] for name in table)).pvalue)
    groups = _groups(ranks, difference) if p < LEVEL else [tuple(map(str, ranks.index))]
    return CriticalDifference(ranks, difference, p, groups, n)


def _groups(ranks: pd.Series, difference: float) -> list[tuple[str, ...]]:
    names, values = [str(name) for name in ranks.index], ranks.to_numpy()
    found: list[tuple[str, ...]] = []
    end = 0
    for first in range(len(names)):
        last = int(np.searchsorted(values, values[first] + difference, side="left"))
        # not within the one before
        if last > end and last - first > 1:
            found.append(tuple(names[first:last]))
        end = max(end, last)
    return found
