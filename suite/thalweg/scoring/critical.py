"""The critical difference of mean ranks over workloads (Demšar 2006), for its diagram."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

MIN_WORKLOADS = 12
"""Workloads that the approximation behind the critical difference needs."""
LEVEL = 0.05


@dataclass(frozen=True)
class CriticalDifference:
    """What the diagram shows."""

    ranks: pd.Series
    """The mean rank of each optimizer over workloads, the smallest first; 1 is the best."""
    difference: float
    """Mean ranks that differ by less are not told apart, and none are where ``p`` is 0.05 or more."""
    p: float
    """Friedman's: of ranks as different as these, were all optimizers the same."""
    groups: list[tuple[str, ...]]
    """Largest sets of optimizers that are not told apart, in the order of ranks; single ones are left out."""
    workloads: int


def refusal(workloads: int, optimizers: int) -> str:
    """Why there is no critical difference of so many; empty where there is one."""
    if workloads < MIN_WORKLOADS:
        return f"a critical-difference diagram takes {MIN_WORKLOADS} workloads with a target, here are {workloads}"
    if optimizers < 3:
        return f"a critical-difference diagram takes 3 optimizers, here are {optimizers}"
    return ""


def critical_difference(table: pd.DataFrame) -> CriticalDifference:
    """Friedman's test and Nemenyi's critical difference, of scores (larger is better), workloads by optimizers.

    With N workloads, k optimizers and mean ranks R_j (ties share theirs) the critical difference is
    q sqrt(k (k + 1) / (6 N)), where q is the upper 5% point of the studentized range of k with infinite degrees of
    freedom, over sqrt(2) (Demšar 2006, *Statistical comparisons of classifiers over multiple data sets*, JMLR 7). Ranks
    depend on who else is there.
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
