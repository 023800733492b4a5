"""The columns of ``curve.parquet``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

CURVE_COLUMNS = {
    "step": "int64",
    "epoch": "float64",
    "examples": "int64",
    "gradient_evaluations": "int64",
    "curvature_products": "int64",
    "factor_inversions": "int64",
    "seconds": "float64",
    "split": "str",
    "metric": "str",
    "value": "float64",
}
"""One row per evaluation, split and metric. ``seconds`` is training alone: evaluations and probes are left out."""


def curve_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table with these columns and types, also when there are none."""
    # a column at a time: a DataFrame of rows, cast, takes six times as long, which is half of what a small trial costs
    return pd.DataFrame({name: _column([row[name] for row in rows], dtype) for name, dtype in CURVE_COLUMNS.items()})


def _column(values: list[Any], dtype: str) -> Any:
    return pd.array(values, dtype="str") if dtype == "str" else np.array(values, dtype)


def with_all_columns(curve: pd.DataFrame) -> pd.DataFrame:
    """A curve as it is written now: one from before inversions were counted has none, its optimizers made none."""
    if "factor_inversions" not in curve:
        curve = curve.assign(factor_inversions=0)
    return curve[list(CURVE_COLUMNS)] if set(CURVE_COLUMNS) <= set(curve) else curve
