"""Simulates how often bootstrap intervals that say 95% cover the mean: the table of docs/scoring.md.

Run ``python docs/coverage.py``. (Those of t are in tests/scoring/test_coverage.py.)
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import bootstrap

REPETITIONS = 600

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for n in (3, 5, 10):
        draw = np.random.default_rng(n)
        covered = dict.fromkeys(("percentile", "BCa"), 0)
        for _ in range(REPETITIONS):
            values = draw.normal(0, 1, n)
            for method in covered:
                found = bootstrap((values,), np.mean, method=method, n_resamples=999, rng=draw).confidence_interval
                covered[method] += int(found.low <= 0 <= found.high)
        print(n, {method: round(count / REPETITIONS, 2) for method, count in covered.items()})  # noqa: T201
