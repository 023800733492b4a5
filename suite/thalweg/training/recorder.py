"""Collects a curve: one row per evaluation, split and metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

CURVE_COLUMNS = {
    "step": "int64",
    "epoch": "float64",
    "examples": "int64",
    "gradient_evaluations": "int64",
    "curvature_products": "int64",
    "seconds": "float64",
    "split": "str",
    "metric": "str",
    "value": "float64",
}
"""Columns of ``curve.parquet``. ``seconds`` is training alone: evaluations and probes are left out."""


@dataclass
class Recorder:
    """The rows so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, position: Mapping[str, Any], split: str, values: Mapping[str, float]) -> None:
        """One row a value, at a position (step, epoch, examples, gradient_evaluations, curvature_products, seconds)."""
        self.rows += [
            {**position, "split": split, "metric": metric, "value": value} for metric, value in values.items()
        ]

    def table(self) -> pd.DataFrame:
        """The curve, with the columns and types of ``CURVE_COLUMNS`` also when it is empty."""
        return pd.DataFrame(self.rows, columns=list(CURVE_COLUMNS)).astype(CURVE_COLUMNS)
