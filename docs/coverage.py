"""Simulates how often bootstrap intervals that claim 95% cover the truth, and prints the numbers of docs/scoring.md.

Run ``python docs/coverage.py``. tests/scoring/test_coverage.py simulates t-intervals.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from thalweg.scoring.pooled import interquartile_mean, pooled

REPETITIONS = 600


def means() -> None:
    """Print the coverage of the mean of n normal numbers."""
    for n in (3, 5, 10):
        draw = np.random.default_rng(n)
        covered = dict.fromkeys(("percentile", "BCa"), 0)
        for _ in range(REPETITIONS):
            values = draw.normal(0, 1, n)
            for method in covered:
                found = bootstrap((values,), np.mean, method=method, n_resamples=999, rng=draw).confidence_interval
                covered[method] += int(found.low <= 0 <= found.high)
        print(n, {method: round(count / REPETITIONS, 2) for method, count in covered.items()})  # noqa: T201


def interquartile_means() -> None:
    """Print the coverage of pooled scores.

    The means of workloads go from 0.2 to 0.8. Seeds are normal around them with standard deviation 0.05.
    """
    for workloads, seeds in ((7, 3), (4, 5), (2, 10), (20, 3), (12, 5)):
        draw = np.random.default_rng([workloads, seeds])
        centres = np.linspace(0.2, 0.8, workloads)
        # the average over many experiments of this size
        many = draw.normal(np.repeat(centres, seeds), 0.05, (20_000, workloads * seeds))
        truth = float(np.mean(interquartile_mean(many)))
        names = ["optimizer", "seed", "workload"]
        index = pd.MultiIndex.from_product([["x"], range(seeds), range(workloads)], names=names)
        covered = 0
        for _ in range(REPETITIONS):
            values = draw.normal(centres, 0.05, (seeds, workloads)).ravel()
            row = pooled(pd.Series(values, index)).means.iloc[0]
            covered += int(row["low"] <= truth <= row["high"])
        print(workloads, seeds, round(covered / REPETITIONS, 2))  # noqa: T201


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    means()
    interquartile_means()
