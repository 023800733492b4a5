"""The fates of an optimizer's settings, in a table: means are those of the leaderboard."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from thalweg.contracts import Metric
from thalweg.plan import Workload
from thalweg.present.fates import settings_table


@pytest.mark.parametrize(
    ("scale", "values", "mean"),
    [("log", [0.01, 1.0], 0.1), ("linear", [0.01, 1.0], 0.505), ("log", [0.0, 1.0], 0.5), ("log", [], math.nan)],
)
def test_the_mean_is_geometric_on_a_log_scale(scale: str, values: list[float], mean: float) -> None:
    loss = Metric("loss", "lower", scale)  # type: ignore[arg-type]
    workload = Workload("w", (loss,), loss, "train", None, "train", None)
    row = {"own": True, "setting": "lr=1", "order": 1.0, "done": len(values), "diverged": 0, "failed": 1}
    rows = pd.DataFrame([{**row, "finals": [{"train": {"loss": value}} for value in values]}])
    assert settings_table(rows, workload).frame()["value"][0] == pytest.approx(mean, nan_ok=True)
