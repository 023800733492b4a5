"""A comparison of 20 rows at 50 seeds, bounds included, against p-values alone by scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test

from thalweg.contracts import Metric
from thalweg.scoring.compare import Pair, compare
from thalweg.scoring.outcomes import COLUMNS
from thalweg.scoring.rerandomised import MOST, evidence, paired
from timing import ratio

ROWS, SEEDS = 20, 50
LOSS = Metric("loss", "lower", "log")


def side(draw: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (f"w{row}", "loss", "adam", seed, True, value)
            for row in range(ROWS)
            for seed, value in enumerate(draw.lognormal(0.0, 0.2, SEEDS))
        ],
        columns=COLUMNS,
    )


@pytest.mark.benchmark(group="comparison of 20 rows at 50 seeds")
def test_a_comparison_of_many_rows_and_seeds(benchmark: Any) -> None:
    draw = np.random.default_rng(0)
    before, after = side(draw), side(draw)
    losses = np.log(after["value"].to_numpy() / before["value"].to_numpy()).reshape(ROWS, SEEDS)
    metrics = {name: [LOSS] for name in before["workload"].unique()}

    def ours() -> None:
        compare(before, after, metrics, [Pair("adam", "adam")])

    def mean(values: Any, axis: int) -> Any:
        return values.mean(axis)

    def theirs() -> list[float]:
        options: dict[str, Any] = {"permutation_type": "samples", "alternative": "greater", "n_resamples": MOST}
        return [
            float(permutation_test((row,), mean, rng=np.random.default_rng(1), batch=4096, **options).pvalue)
            for row in losses
        ]

    own = evidence(paired(losses), np.zeros(ROWS)).worse
    assert np.allclose(own, theirs(), atol=0.012)  # both draw 65,535 choices of signs
    benchmark.extra_info["ratio"] = ratio(ours, theirs, 5)
    benchmark(ours)
