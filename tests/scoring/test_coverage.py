"""Intervals cover the truth at their level: simulated, seeded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from thalweg.scoring.intervals import t_interval

REPETITIONS = 2000


def covered(n: int, log: bool) -> int:
    draw = np.random.default_rng([n, int(log)])
    found = 0
    for _ in range(REPETITIONS):
        values = draw.normal(0.9, 0.01, n) if not log else np.exp(draw.normal(5.0, 0.7, n))
        truth = 0.9 if not log else np.exp(5.0)
        estimate = t_interval(values.tolist(), log=log)
        found += estimate.low <= truth <= estimate.high
    return found


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_95_percent_interval_covers_the_truth_in_95_percent(n: int, log: bool) -> None:
    interval = binomtest(covered(n, log), REPETITIONS).proportion_ci(0.999)
    assert interval.low <= 0.95 <= interval.high
    # and the test can tell: what covers 90 percent is not taken for it
    assert interval.low > 0.92
    assert interval.high < 0.98
