"""The same ten curves for every format: two optimizers, five seeds, one of them diverged."""

from __future__ import annotations

import numpy as np
import pandas as pd

STEPS = tuple(range(10, 101, 10))
DIVERGED = ("sgd", 3)
"""The optimizer and the seed of the curve that diverges."""


def ten_curves() -> pd.DataFrame:
    """A tidy table: training loss and validation accuracy at ten steps."""
    random = np.random.default_rng(0)
    rows = []
    for optimizer, best in (("adam", 0.9), ("sgd", 0.8)):
        for seed in range(5):
            for step in STEPS:
                accuracy = best * (1 - np.exp(-step / 30)) + 0.02 * random.normal()
                loss = float(np.exp(-step / 40) + 0.01 * random.random())
                if (optimizer, seed) == DIVERGED and step > 50:
                    loss, accuracy = float("nan"), 0.1
                rows.append(("digits", optimizer, seed, step, "train", "loss", loss))
                rows.append(("digits", optimizer, seed, step, "valid", "accuracy", float(np.clip(accuracy, 0, 1))))
    return pd.DataFrame(rows, columns=["workload", "optimizer", "seed", "step", "split", "metric", "value"])
