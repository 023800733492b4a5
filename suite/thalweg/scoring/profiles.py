"""Performance profiles over workloads, as in AlgoPerf. They depend on which optimizers are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

R_MAX = 4.0
"""The largest ratio of a performance profile, as in AlgoPerf (Dahl et al. 2023)."""


def profile_score(ratios: np.ndarray[Any, Any]) -> Any:
    """AlgoPerf's score: the area under the performance profile from 1 to r_max, over r_max - 1.

    The profile rho(tau) is the share of workloads with a ratio r of at most tau (Dolan & Moré 2002). So the score is
    the mean over workloads (the last axis) of (r_max - r) / (r_max - 1), which counts as 0 where r exceeds r_max.

    >>> float(profile_score(np.array([1.0, 2.5, 9.0])))
    0.5
    """
    return np.clip((R_MAX - ratios) / (R_MAX - 1), 0.0, 1.0).mean(-1)


def profiles(times: pd.DataFrame, optimizers: Sequence[str]) -> dict[str, float]:
    """AlgoPerf's score of each optimizer, without an interval. It depends on the optimizers compared.

    The time on a workload is the work until the workload's own target is reached (``over_all.runtimes``), as the median
    over seeds. The ratio is the time over the shortest time of all optimizers.

    There is no interval because none is known that covers. The score has a kink where two optimizers are equally fast,
    and the best of several noisy medians is too good. A bootstrap over seeds covers the score of equal population
    medians in about 1% of cases (``docs/coverage.py``).
    """
    spent = _spent(times, optimizers)
    if not spent:
        return {}
    scores = profile_score(_ratios(_medians(spent, len(optimizers))))
    return {optimizer: float(score) for optimizer, score in zip(optimizers, scores, strict=True)}


def profile_curve(times: pd.DataFrame, optimizers: Sequence[str], points: int = 61) -> pd.DataFrame:
    """The performance profile of each optimizer: columns optimizer, tau (1 to R_MAX), within (share of workloads)."""
    spent = _spent(times, optimizers)
    if not spent:
        return pd.DataFrame(columns=["optimizer", "tau", "within"])
    at = np.linspace(1.0, R_MAX, points)
    ratios = _ratios(_medians(spent, len(optimizers)))
    within = (ratios[:, None, :] <= at[:, None] * (1 + 1e-12)).mean(-1)
    parts = [pd.DataFrame({"optimizer": name, "tau": at, "within": within[i]}) for i, name in enumerate(optimizers)]
    return pd.concat(parts, ignore_index=True)


def _spent(times: pd.DataFrame, optimizers: Sequence[str]) -> dict[str, dict[int, np.ndarray[Any, Any]]]:
    """The spending of each seed until the workload's own target, by workload and place of the optimizer."""
    place = {name: i for i, name in enumerate(optimizers)}
    found: dict[str, dict[int, np.ndarray[Any, Any]]] = {}
    groups: Any = times[times["target"] == 0].groupby(["workload", "optimizer"], sort=True)["spent"]
    for (workload, optimizer), values in groups:
        of = found.setdefault(str(workload), {})
        if optimizer in place:
            of[place[optimizer]] = values.to_numpy()
    return found


def _medians(spent: Mapping[str, Mapping[int, np.ndarray[Any, Any]]], optimizers: int) -> np.ndarray[Any, Any]:
    """The medians, optimizers by workloads; infinite where there is no trial."""
    table = np.full((optimizers, len(spent)), np.inf)
    for j, of in enumerate(spent.values()):
        for i, values in of.items():
            table[i, j] = _median(values)
    return table


def _median(values: np.ndarray[Any, Any]) -> Any:
    """The median, as the larger of two middle numbers, because the mean of a number and infinity is no median."""
    middle = values.shape[-1] // 2
    return np.partition(values, middle, -1)[..., middle]


def _ratios(times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The ratios to the smallest number over optimizers, which are the last axis but one.

    The smallest has ratio 1, even if it is zero. Ratios are infinite where no optimizer reaches the target.
    """
    least = times.min(-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.where(times == least, 1.0, times / least)
    return np.asarray(np.where(np.isfinite(times), ratios, np.inf))
