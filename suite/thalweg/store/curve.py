"""The columns of ``curve.parquet``."""

from __future__ import annotations

import math
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
    "work": "float64",
    "seconds": "float64",
    "split": "str",
    "metric": "str",
    "value": "float64",
}
"""One row per evaluation, split and metric. ``seconds`` counts training alone, without evaluations and probes.

``work`` is in gradients of one example: see ``thalweg.contracts.costs``.
"""


def curve_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table with the columns and types of CURVE_COLUMNS, also without any row."""
    # column by column: to cast a DataFrame of rows takes six times as long, which is half the cost of a small trial
    return pd.DataFrame({name: _column([row[name] for row in rows], dtype) for name, dtype in CURVE_COLUMNS.items()})


def _column(values: list[Any], dtype: str) -> Any:
    return pd.array(values, dtype="str") if dtype == "str" else np.array(values, dtype)


def with_all_columns(curve: pd.DataFrame) -> pd.DataFrame:
    """A curve with all columns.

    Old curves lack ``factor_inversions``, and their optimizers made no inversions. Old curves lack ``work``, which is
    nan then.
    """
    if "factor_inversions" not in curve:
        curve = curve.assign(factor_inversions=0)
    if "work" not in curve:
        curve = curve.assign(work=math.nan)
    return curve[list(CURVE_COLUMNS)] if set(CURVE_COLUMNS) <= set(curve) else curve
